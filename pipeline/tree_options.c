#include "pipeline/tree_options.h"

#include <math.h>
#include <string.h>

typedef struct {
  const gchar *name, *xgboost; /* NULL: not XGBoost's */
  gboolean whole;
  gsize offset;
  double fallback, least, most; /* a real one must be above `least` when `open` */
  gboolean open;
} Option;

#define AT(member) G_STRUCT_OFFSET(PipelineTreeOptions, member)
static const Option table[] = {
    {"depth", "max_depth", TRUE, AT(depth), 6, 1, 30, FALSE},
    {"rounds", NULL, TRUE, AT(rounds), 500, 1, 100000, FALSE},
    {"bins", "max_bin", TRUE, AT(bins), 256, 2, 65536, FALSE},
    {"patience", NULL, TRUE, AT(patience), 50, 0, 100000, FALSE},
    {"eta", "eta", FALSE, AT(eta), .1, 0, 1, TRUE},
    {"subsample", "subsample", FALSE, AT(subsample), 1, 0, 1, TRUE},
    {"colsample", "colsample_bytree", FALSE, AT(colsample), 1, 0, 1, TRUE},
    {"lambda", "lambda", FALSE, AT(lambda), 1, 0, 1e9, FALSE},
    {"alpha", "alpha", FALSE, AT(alpha), 0, 0, 1e9, FALSE},
    {"gamma", "gamma", FALSE, AT(gamma), 0, 0, 1e9, FALSE},
    {"min_child_weight", "min_child_weight", FALSE, AT(min_child_weight), 1, 0, 1e9, FALSE},
    {"scale_pos_weight", "scale_pos_weight", FALSE, AT(scale_pos_weight), 1, 0, 1e9, TRUE},
};

gboolean pipeline_tree_is_architecture(const gchar *architecture)
{
  return architecture != NULL && g_str_has_prefix(architecture, "trees") &&
         (architecture[5] == '\0' || architecture[5] == ':');
}

static void set(PipelineTreeOptions *options, const Option *option, double value)
{
  if (option->whole)
    G_STRUCT_MEMBER(guint, options, option->offset) = (guint)value;
  else
    G_STRUCT_MEMBER(double, options, option->offset) = value;
}

static gboolean fail_unknown(const gchar *name, GError **error)
{
  g_autoptr(GString) names = g_string_new("");
  for (guint i = 0; i < G_N_ELEMENTS(table); i++)
    g_string_append_printf(names, "%s%s", i > 0 ? ", " : "", table[i].name);
  g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_INVALID, "trees have no option \"%s\"; there are %s", name,
              names->str);
  return FALSE;
}

static gboolean check_booster(const gchar *booster, GError **error)
{
  static const struct {
    const gchar *name, *why;
  } refused[] = {{"dart", "DART drops trees while it trains, so that they are no plain sum that ONNX could hold and "
                          "boosting could continue"},
                 {"gblinear", "gblinear is a linear model; write --arch mlp: for one"}};
  if (g_str_equal(booster, "gbtree")) return TRUE;
  for (guint i = 0; i < G_N_ELEMENTS(refused); i++) {
    if (!g_str_equal(booster, refused[i].name)) continue;
    g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_UNSUPPORTED, "booster=%s: %s", booster, refused[i].why);
    return FALSE;
  }
  g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_INVALID, "booster=%s: only gbtree is trained", booster);
  return FALSE;
}

static gboolean parse_option(const gchar *text, PipelineTreeOptions *options, GError **error)
{
  g_auto(GStrv) parts = g_strsplit(text, "=", 2);
  const gchar *name = parts[0] != NULL ? parts[0] : "", *written = parts[0] != NULL ? parts[1] : NULL;
  if (g_str_equal(name, "booster") && written != NULL) return check_booster(written, error);
  for (guint i = 0; i < G_N_ELEMENTS(table); i++) {
    const Option *option = &table[i];
    if (!g_str_equal(name, option->name)) continue;
    gchar *end = NULL;
    double value = written != NULL ? g_ascii_strtod(written, &end) : NAN;
    gboolean good = written != NULL && *written != '\0' && *end == '\0' && value >= option->least &&
                    value <= option->most && (!option->open || value > option->least) &&
                    (!option->whole || value == floor(value));
    if (good) {
      set(options, option, value);
      return TRUE;
    }
    g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_INVALID, "trees: %s must be a %s %s %g, at most %g", name,
                option->whole ? "whole number" : "number", option->open ? "above" : "from", option->least,
                option->most);
    return FALSE;
  }
  return fail_unknown(name, error);
}

gboolean pipeline_tree_options_parse(const gchar *architecture, PipelineTreeOptions *options, GError **error)
{
  PipelineTreeOptions read;
  for (guint i = 0; i < G_N_ELEMENTS(table); i++) set(&read, &table[i], table[i].fallback);
  const gchar *list = strchr(architecture, ':');
  g_auto(GStrv) texts = list != NULL && list[1] != '\0' ? g_strsplit(list + 1, ",", -1) : g_new0(gchar *, 1);
  for (guint i = 0; texts[i] != NULL; i++)
    if (!parse_option(texts[i], &read, error)) return FALSE;
  *options = read;
  return TRUE;
}

void pipeline_tree_options_foreach(const PipelineTreeOptions *options,
                                   void (*take)(const gchar *name, const gchar *value, gpointer data), gpointer data)
{
  for (guint i = 0; i < G_N_ELEMENTS(table); i++) {
    gchar text[G_ASCII_DTOSTR_BUF_SIZE];
    if (table[i].xgboost == NULL) continue;
    if (table[i].whole)
      g_snprintf(text, sizeof text, "%u", G_STRUCT_MEMBER(guint, options, table[i].offset));
    else
      g_ascii_formatd(text, sizeof text, "%.9g", G_STRUCT_MEMBER(double, options, table[i].offset));
    take(table[i].xgboost, text, data);
  }
}
