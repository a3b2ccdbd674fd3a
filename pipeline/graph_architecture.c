#include "pipeline/graph_architecture.h"

#include <string.h>

#define MAX_WIDTH 65536u

static const PipelineGraphActivation activations[] = {
    {"relu", "Relu", FALSE, 17}, {"leaky-relu", "LeakyRelu", FALSE, 17},
    {"elu", "Elu", FALSE, 17},   {"gelu", "Gelu", FALSE, 20},
    {"tanh", "Tanh", FALSE, 17}, {"silu", "Sigmoid", TRUE, 17}};

/* What a word sets: a member to a value, or, with a "=", to a number from low to high. */
static const struct {
  const gchar *word;
  gsize member;
  guint value; /* of words alone */
  gboolean image, takes_number, odd;
  guint low, high;
} words[] = {
    {"no-norm", G_STRUCT_OFFSET(PipelineGraphArchitecture, norm), .value = PIPELINE_GRAPH_NORM_NONE},
    {"batch-norm", G_STRUCT_OFFSET(PipelineGraphArchitecture, norm), .value = PIPELINE_GRAPH_NORM_BATCH},
    {"layer-norm", G_STRUCT_OFFSET(PipelineGraphArchitecture, norm), .value = PIPELINE_GRAPH_NORM_LAYER},
    {"residual", G_STRUCT_OFFSET(PipelineGraphArchitecture, residual), .value = TRUE},
    {"max-pool", G_STRUCT_OFFSET(PipelineGraphArchitecture, average_pool), .value = FALSE, .image = TRUE},
    {"average-pool", G_STRUCT_OFFSET(PipelineGraphArchitecture, average_pool), .value = TRUE, .image = TRUE},
    {"kernel", G_STRUCT_OFFSET(PipelineGraphArchitecture, kernel), 0, TRUE, TRUE, TRUE, 1, 7},
    {"blocks", G_STRUCT_OFFSET(PipelineGraphArchitecture, blocks), 0, TRUE, TRUE, FALSE, 1, 4},
    {"dense", G_STRUCT_OFFSET(PipelineGraphArchitecture, dense), 0, TRUE, TRUE, FALSE, 0, 4096},
};

gboolean pipeline_graph_is_architecture(const gchar *text)
{
  return g_str_equal(text, "cnn") || g_str_has_prefix(text, "cnn:") || g_str_has_prefix(text, "cnn+");
}

gboolean pipeline_graph_architecture_needs_graph(const gchar *text)
{
  return pipeline_graph_is_architecture(text) || (g_str_has_prefix(text, "mlp:") && strchr(text, '+') != NULL);
}

static gboolean take_widths(const gchar *list, PipelineGraphArchitecture *made)
{
  g_auto(GStrv) parts = g_strsplit(list, ",", -1);
  for (guint i = 0; parts[i] != NULL; i++) {
    guint64 width = 0;
    if (!g_ascii_string_to_unsigned(parts[i], 10, 1, MAX_WIDTH, &width, NULL) || i == PIPELINE_GRAPH_MAX_LAYERS)
      return FALSE;
    made->widths[made->n_widths++] = (guint)width;
  }
  return TRUE;
}

static gboolean take_number(gsize w, const gchar *text, PipelineGraphArchitecture *made)
{
  guint64 value = 0;
  if (!g_ascii_string_to_unsigned(text, 10, words[w].low, words[w].high, &value, NULL) ||
      (words[w].odd && value % 2 == 0))
    return FALSE;
  G_STRUCT_MEMBER(guint, made, words[w].member) = (guint)value;
  return TRUE;
}

static gboolean take_word(const gchar *text, PipelineGraphArchitecture *made)
{
  g_auto(GStrv) halves = g_strsplit(text, "=", 2);
  const gchar *name = halves[0] != NULL ? halves[0] : "", *number = halves[0] != NULL ? halves[1] : NULL;
  for (gsize i = 0; i < G_N_ELEMENTS(activations) && number == NULL; i++) {
    if (!g_str_equal(activations[i].name, name)) continue;
    made->activation = &activations[i];
    return TRUE;
  }
  for (gsize w = 0; w < G_N_ELEMENTS(words); w++) {
    if (!g_str_equal(words[w].word, name)) continue;
    if ((words[w].image && !made->image) || words[w].takes_number != (number != NULL)) return FALSE;
    if (number != NULL) return take_number(w, number, made);
    G_STRUCT_MEMBER(guint, made, words[w].member) = words[w].value;
    return TRUE;
  }
  return FALSE;
}

static gboolean fail(const gchar *text, const gchar *word, GError **error)
{
  g_autoptr(GString) known = g_string_new("");
  for (gsize i = 0; i < G_N_ELEMENTS(activations); i++) g_string_append_printf(known, "%s, ", activations[i].name);
  for (gsize w = 0; w < G_N_ELEMENTS(words); w++) {
    g_string_append(known, words[w].word);
    if (words[w].takes_number) g_string_append_printf(known, "=%u..%u", words[w].low, words[w].high);
    g_string_append_printf(known, "%s%s", words[w].odd ? " (odd)" : "", words[w].image ? " (of cnn), " : ", ");
  }
  g_string_truncate(known, known->len - 2);
  if (word == NULL)
    g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_INVALID,
                "architecture \"%s\": write \"mlp:64,64\" (widths of hidden layers) or \"cnn:32,64\" (channels), at "
                "most %u",
                text, PIPELINE_GRAPH_MAX_LAYERS);
  else
    g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_INVALID,
                "architecture \"%s\": \"%s\" cannot be written here; behind a \"+\" there can be %s", text, word,
                known->str);
  return FALSE;
}

gboolean pipeline_graph_architecture_parse(const gchar *text, PipelineGraphArchitecture *architecture, GError **error)
{
  gboolean image = pipeline_graph_is_architecture(text);
  PipelineGraphArchitecture made = {.image = image,
                                    .activation = &activations[0],
                                    .norm = image ? PIPELINE_GRAPH_NORM_BATCH : PIPELINE_GRAPH_NORM_NONE,
                                    .kernel = 3,
                                    .blocks = 1,
                                    .dense = 128};
  g_auto(GStrv) parts = g_strsplit(text, "+", -1);
  const gchar *list = parts[0] != NULL ? strchr(parts[0], ':') : NULL;
  if ((!image && !g_str_has_prefix(text, "mlp:")) || !take_widths(list != NULL ? list + 1 : "32,64", &made))
    return fail(text, NULL, error);
  for (guint i = 1; parts[0] != NULL && parts[i] != NULL; i++)
    if (!take_word(parts[i], &made)) return fail(text, parts[i], error);
  *architecture = made;
  return TRUE;
}
