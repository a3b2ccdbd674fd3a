#include "pipeline/search_space.h"

#include <math.h>
#include <string.h>

/* --- the table ---------------------------------------------------------------------------------------------------- */

enum { DEPTH, WIDTH, TAPER, RATE, DECAY, BATCH };
static const PipelineSearchDimension dense[] = {
    [DEPTH] = {"depth", PIPELINE_SEARCH_INTEGER, 0, 4, NULL, 2}, /* hidden layers; 0: a linear model */
    [WIDTH] = {"width", PIPELINE_SEARCH_LOG_INTEGER, 8, 256, NULL, 64},
    [TAPER] = {"taper", PIPELINE_SEARCH_CHOICE, 0, 0, "1,0.5", 0}, /* width of a layer over that of the one before */
    [RATE] = {"learning_rate", PIPELINE_SEARCH_LOG, 2e-4, 5e-2, NULL, 5e-3},
    [DECAY] = {"weight_decay", PIPELINE_SEARCH_LOG, 1e-3, 5, NULL, .5},
    [BATCH] = {"batch", PIPELINE_SEARCH_CHOICE, 0, 0, "32,64,128,256,512", 2}};

enum { TREE_DEPTH, ETA, SUBSAMPLE, COLSAMPLE, CHILD, LAMBDA };
static const PipelineSearchDimension trees[] = {[TREE_DEPTH] = {"depth", PIPELINE_SEARCH_INTEGER, 2, 12, NULL, 6},
                                                [ETA] = {"eta", PIPELINE_SEARCH_LOG, 1e-2, .5, NULL, .1},
                                                [SUBSAMPLE] = {"subsample", PIPELINE_SEARCH_REAL, .4, 1, NULL, 1},
                                                [COLSAMPLE] = {"colsample", PIPELINE_SEARCH_REAL, .4, 1, NULL, 1},
                                                [CHILD] = {"min_child_weight", PIPELINE_SEARCH_LOG, .1, 100, NULL, 1},
                                                [LAMBDA] = {"lambda", PIPELINE_SEARCH_LOG, 1e-2, 100, NULL, 1}};

static double choice_number(const PipelineSearchDimension *dimension, double index)
{
  g_auto(GStrv) choices = g_strsplit(dimension->choices, ",", -1);
  return g_ascii_strtod(choices[(guint)index], NULL);
}

static gchar *fill_dense(const double *values, PipelineTrainOptions *options)
{
  double width = values[WIDTH], taper = choice_number(&dense[TAPER], values[TAPER]);
  GString *text = g_string_new("mlp:");
  for (guint i = 0; i < (guint)values[DEPTH]; i++, width *= taper)
    g_string_append_printf(text, "%s%u", i > 0 ? "," : "", MAX(2u, (guint)width));
  options->learning_rate = values[RATE];
  options->weight_decay = values[DECAY];
  options->batch_size = (guint)choice_number(&dense[BATCH], values[BATCH]);
  return g_string_free(text, FALSE);
}

/* The rounds are the resource; 50 rounds without a better validation loss end a trial. */
static gchar *fill_trees(const double *values, PipelineTrainOptions *options)
{
  (void)options;
  GString *text = g_string_new("trees:");
  for (guint i = 0; i < G_N_ELEMENTS(trees); i++) {
    gchar number[G_ASCII_DTOSTR_BUF_SIZE];
    g_ascii_formatd(number, sizeof number, "%.9g", values[i]);
    g_string_append_printf(text, "%s%s=%s", i > 0 ? "," : "", trees[i].name, number);
  }
  return g_string_free(text, FALSE);
}

static const PipelineSearchFamily dense_family = {"dense", "epochs", 3, dense, G_N_ELEMENTS(dense), fill_dense};
static const PipelineSearchFamily trees_family = {"trees", "rounds", 50, trees, G_N_ELEMENTS(trees), fill_trees};
static const PipelineSearchFamily *const families[] = {&dense_family, &trees_family, NULL};

const PipelineSearchFamily *const *pipeline_search_families(void)
{
  return families;
}

const PipelineSearchFamily *pipeline_search_family_find(const gchar *name)
{
  for (guint i = 0; families[i] != NULL; i++)
    if (g_strcmp0(families[i]->name, name) == 0) return families[i];
  return NULL;
}

guint pipeline_search_n_choices(const PipelineSearchDimension *dimension)
{
  g_auto(GStrv) choices = g_strsplit(dimension->choices, ",", -1);
  return g_strv_length(choices);
}

/* --- narrowing ---------------------------------------------------------------------------------------------------- */

static gboolean is_whole(PipelineSearchScale scale)
{
  return scale == PIPELINE_SEARCH_INTEGER || scale == PIPELINE_SEARCH_LOG_INTEGER;
}

static gboolean read_number(const gchar *text, double *value)
{
  gchar *end = NULL;
  *value = g_ascii_strtod(text, &end);
  return *text != '\0' && *end == '\0' && isfinite(*value);
}

/* "A|B": the indices stay those of the table, so that a value means the same in every search. */
static gboolean narrow_choices(PipelineSearchPart *part, guint d, const gchar *range)
{
  g_auto(GStrv) all = g_strsplit(part->family->table[d].choices, ",", -1);
  g_auto(GStrv) asked = g_strsplit(range, "|", -1);
  for (guint i = 0; asked[i] != NULL; i++)
    if (!g_strv_contains((const gchar *const *)all, asked[i])) return FALSE;
  g_free(part->choices[d]);
  part->choices[d] = g_strjoinv(",", asked);
  return g_strv_length(asked) > 0;
}

static gboolean narrow_numbers(PipelineSearchDimension *dimension, const gchar *range)
{
  double low, high;
  const gchar *dots = strstr(range, "..");
  g_autofree gchar *first = dots != NULL ? g_strndup(range, (gsize)(dots - range)) : g_strdup(range);
  if (!read_number(first, &low) || !read_number(dots != NULL ? dots + 2 : range, &high)) return FALSE;
  if (low < dimension->low || high > dimension->high || low > high) return FALSE;
  if (is_whole(dimension->scale) && (low != floor(low) || high != floor(high))) return FALSE;
  dimension->low = low;
  dimension->high = high;
  return TRUE;
}

static gboolean fail_range(const PipelineSearchFamily *family, const PipelineSearchDimension *dimension,
                           const gchar *range, GError **error)
{
  if (dimension->choices != NULL)
    g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_INVALID, "space: %s:%s=%s: write some of %s, with \"|\" between",
                family->name, dimension->name, range, dimension->choices);
  else
    g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_INVALID,
                "space: %s:%s=%s: write LOW..HIGH or one %s, from %g to %g", family->name, dimension->name, range,
                is_whole(dimension->scale) ? "whole number" : "number", dimension->low, dimension->high);
  return FALSE;
}

static gboolean narrow(PipelineSearchPart *part, const gchar *text, GError **error)
{
  g_auto(GStrv) words = g_strsplit(text, "=", 2);
  const PipelineSearchFamily *family = part->family;
  g_autoptr(GString) known = g_string_new("");
  for (guint d = 0; d < family->n_dimensions; d++) {
    g_string_append_printf(known, "%s%s", d > 0 ? ", " : "", family->table[d].name);
    if (g_strcmp0(words[0], family->table[d].name) != 0) continue;
    const gchar *range = words[1] != NULL ? words[1] : "";
    gboolean good =
        family->table[d].choices != NULL ? narrow_choices(part, d, range) : narrow_numbers(&part->dimensions[d], range);
    return good || fail_range(family, &family->table[d], range, error);
  }
  g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_INVALID, "space: %s has no dimension \"%s\"; there are %s",
              family->name, words[0] != NULL ? words[0] : "", known->str);
  return FALSE;
}

static void part_free(gpointer data)
{
  PipelineSearchPart *part = data;
  for (guint d = 0; d < PIPELINE_SEARCH_MAX_DIMENSIONS; d++) g_free(part->choices[d]);
  g_free(part);
}

static PipelineSearchPart *part_new(const PipelineSearchFamily *family)
{
  PipelineSearchPart *part = g_new0(PipelineSearchPart, 1);
  part->family = family;
  for (guint d = 0; d < family->n_dimensions; d++) part->dimensions[d] = family->table[d];
  return part;
}

static gboolean add_part(PipelineSearchSpace *space, const gchar *text, GError **error)
{
  g_auto(GStrv) halves = g_strsplit(text, ":", 2);
  const PipelineSearchFamily *family = pipeline_search_family_find(halves[0]);
  if (family == NULL || pipeline_search_space_find(space, halves[0]) != NULL) {
    g_autoptr(GString) known = g_string_new("");
    for (guint i = 0; families[i] != NULL; i++)
      g_string_append_printf(known, "%s%s", i > 0 ? ", " : "", families[i]->name);
    g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_INVALID, "space: \"%s\" is %s; there are %s",
                halves[0] != NULL ? halves[0] : "", family != NULL ? "named twice" : "no family of models", known->str);
    return FALSE;
  }
  PipelineSearchPart *part = part_new(family);
  g_ptr_array_add(space->parts, part);
  g_auto(GStrv) ranges = g_strsplit(halves[1] != NULL ? halves[1] : "", ",", -1);
  for (guint i = 0; ranges[i] != NULL; i++)
    if (!narrow(part, ranges[i], error)) return FALSE;
  return TRUE;
}

PipelineSearchSpace *pipeline_search_space_parse(const gchar *text, GError **error)
{
  g_autoptr(PipelineSearchSpace) space = g_new0(PipelineSearchSpace, 1);
  space->parts = g_ptr_array_new_with_free_func(part_free);
  if (text == NULL || *text == '\0') {
    for (guint i = 0; families[i] != NULL; i++) g_ptr_array_add(space->parts, part_new(families[i]));
    return g_steal_pointer(&space);
  }
  g_auto(GStrv) texts = g_strsplit(text, ";", -1);
  for (guint i = 0; texts[i] != NULL; i++)
    if (!add_part(space, texts[i], error)) return NULL;
  return g_steal_pointer(&space);
}

void pipeline_search_space_free(PipelineSearchSpace *space)
{
  if (space == NULL) return;
  g_ptr_array_unref(space->parts);
  g_free(space);
}

const PipelineSearchPart *pipeline_search_space_find(const PipelineSearchSpace *space, const gchar *family)
{
  for (guint i = 0; i < space->parts->len; i++) {
    const PipelineSearchPart *part = g_ptr_array_index(space->parts, i);
    if (g_strcmp0(part->family->name, family) == 0) return part;
  }
  return NULL;
}

/* --- JSON --------------------------------------------------------------------------------------------------------- */

json_t *pipeline_search_space_describe(const PipelineSearchSpace *space)
{
  json_t *list = json_array();
  for (guint i = 0; i < space->parts->len; i++) {
    const PipelineSearchPart *part = g_ptr_array_index(space->parts, i);
    json_t *entry = json_pack("{s:s}", "family", part->family->name);
    for (guint d = 0; d < part->family->n_dimensions; d++) {
      const PipelineSearchDimension *dimension = &part->dimensions[d];
      const gchar *choices = part->choices[d] != NULL ? part->choices[d] : dimension->choices;
      json_object_set_new(entry, dimension->name,
                          choices != NULL ? json_string(choices)
                                          : json_pack("[f, f]", dimension->low, dimension->high));
    }
    json_array_append_new(list, entry);
  }
  return list;
}

json_t *pipeline_search_values_format(const PipelineSearchFamily *family, const double *values)
{
  json_t *json = json_object();
  for (guint d = 0; d < family->n_dimensions; d++) {
    const PipelineSearchDimension *dimension = &family->table[d];
    if (dimension->choices != NULL) {
      g_auto(GStrv) choices = g_strsplit(dimension->choices, ",", -1);
      json_object_set_new(json, dimension->name, json_string(choices[(guint)values[d]]));
    } else {
      json_object_set_new(json, dimension->name,
                          is_whole(dimension->scale) ? json_integer((json_int_t)values[d]) : json_real(values[d]));
    }
  }
  return json;
}

static gboolean parse_value(const PipelineSearchDimension *dimension, const json_t *member, double *value)
{
  if (dimension->choices != NULL) {
    g_auto(GStrv) choices = g_strsplit(dimension->choices, ",", -1);
    for (guint i = 0; choices[i] != NULL; i++) {
      if (g_strcmp0(json_string_value(member), choices[i]) != 0) continue;
      *value = i;
      return TRUE;
    }
    return FALSE;
  }
  *value = json_number_value(member);
  return json_is_number(member) && *value >= dimension->low && *value <= dimension->high &&
         (!is_whole(dimension->scale) || *value == floor(*value));
}

gboolean pipeline_search_values_parse(const PipelineSearchFamily *family, const json_t *json, double *values,
                                      GError **error)
{
  for (guint d = 0; d < family->n_dimensions; d++) {
    if (parse_value(&family->table[d], json_object_get(json, family->table[d].name), &values[d])) continue;
    g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_DATA,
                "parameter \"%s\" of the family %s is missing or outside of its range", family->table[d].name,
                family->name);
    return FALSE;
  }
  return TRUE;
}

/* The index in the table of the first choice that the part has. */
static double first_choice(const PipelineSearchPart *part, guint d)
{
  const PipelineSearchDimension *dimension = &part->family->table[d];
  g_auto(GStrv) all = g_strsplit(dimension->choices, ",", -1);
  g_auto(GStrv) own = g_strsplit(part->choices[d], ",", -1);
  if (g_strv_contains((const gchar *const *)own, all[(guint)dimension->usual])) return dimension->usual;
  for (guint i = 0; all[i] != NULL; i++)
    if (g_str_equal(all[i], own[0])) return i;
  return dimension->usual;
}

void pipeline_search_part_usual(const PipelineSearchPart *part, double *values)
{
  for (guint d = 0; d < part->family->n_dimensions; d++) {
    const PipelineSearchDimension *dimension = &part->dimensions[d];
    if (part->choices[d] != NULL)
      values[d] = first_choice(part, d);
    else
      values[d] =
          dimension->choices != NULL ? dimension->usual : CLAMP(dimension->usual, dimension->low, dimension->high);
  }
}
