#include "pipeline/search_space.h"

#include <math.h>
#include <string.h>

#include "pipeline/search_families.h"

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

static gboolean narrow_numbers(const PipelineSearchDimension *table, PipelineSearchDimension *dimension,
                               const gchar *range)
{
  double low, high;
  const gchar *dots = strstr(range, "..");
  g_autofree gchar *first = dots != NULL ? g_strndup(range, (gsize)(dots - range)) : g_strdup(range);
  if (!read_number(first, &low) || !read_number(dots != NULL ? dots + 2 : range, &high)) return FALSE;
  if (low < table->low || high > table->high || low > high) return FALSE;
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

/* Behind it numbers lie evenly, or evenly in the logarithm. */
static gboolean set_scale(PipelineSearchPart *part, guint d, const gchar *scale, GError **error)
{
  PipelineSearchDimension *dimension = &part->dimensions[d];
  if (scale == NULL) return TRUE;
  gboolean is_log = g_str_equal(scale, "log");
  if (dimension->choices == NULL && (is_log || g_str_equal(scale, "linear")) && (!is_log || dimension->low > 0)) {
    dimension->scale = is_whole(dimension->scale) ? (is_log ? PIPELINE_SEARCH_LOG_INTEGER : PIPELINE_SEARCH_INTEGER)
                                                  : (is_log ? PIPELINE_SEARCH_LOG : PIPELINE_SEARCH_REAL);
    return TRUE;
  }
  g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_INVALID,
              "space: %s:%s: the scale \"%s\" cannot be taken: \"log\" (of numbers above 0) or \"linear\", and none of "
              "choices",
              part->family->name, dimension->name, scale);
  return FALSE;
}

gboolean pipeline_search_part_narrow(PipelineSearchPart *part, const gchar *name, const gchar *range,
                                     const gchar *scale, GError **error)
{
  const PipelineSearchFamily *family = part->family;
  g_autoptr(GString) known = g_string_new("");
  for (guint d = 0; d < family->n_dimensions; d++) {
    g_string_append_printf(known, "%s%s", d > 0 ? ", " : "", family->table[d].name);
    if (g_strcmp0(name, family->table[d].name) != 0) continue;
    gboolean good = range == NULL ||
                    (family->table[d].choices != NULL ? narrow_choices(part, d, range)
                                                      : narrow_numbers(&family->table[d], &part->dimensions[d], range));
    return good ? set_scale(part, d, scale, error) : fail_range(family, &family->table[d], range, error);
  }
  g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_INVALID, "space: %s has no dimension \"%s\"; there are %s",
              family->name, name, known->str);
  return FALSE;
}

/* "depth=1..2" */
static gboolean narrow(PipelineSearchPart *part, const gchar *text, GError **error)
{
  g_auto(GStrv) words = g_strsplit(text, "=", 2);
  const gchar *name = words[0] != NULL ? words[0] : "";
  return pipeline_search_part_narrow(part, name, words[0] != NULL && words[1] != NULL ? words[1] : "", NULL, error);
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
  for (guint d = 0; d < family->n_dimensions; d++) {
    part->dimensions[d] = family->table[d];
    if (!family->table[d].only_asked) continue;
    g_auto(GStrv) choices = g_strsplit(family->table[d].choices, ",", -1);
    part->choices[d] = g_strdup(choices[(guint)family->table[d].usual]);
  }
  return part;
}

PipelineSearchPart *pipeline_search_space_add(PipelineSearchSpace *space, const gchar *name, GError **error)
{
  const PipelineSearchFamily *const *families = pipeline_search_families();
  const PipelineSearchFamily *family = pipeline_search_family_find(name);
  if (family == NULL || pipeline_search_space_find(space, name) != NULL) {
    g_autoptr(GString) known = g_string_new("");
    for (guint i = 0; families[i] != NULL; i++)
      g_string_append_printf(known, "%s%s", i > 0 ? ", " : "", families[i]->name);
    g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_INVALID, "space: \"%s\" is %s; there are %s", name,
                family != NULL ? "named twice" : "no family of models", known->str);
    return NULL;
  }
  PipelineSearchPart *part = part_new(family);
  g_ptr_array_add(space->parts, part);
  return part;
}

static gboolean add_part(PipelineSearchSpace *space, const gchar *text, GError **error)
{
  g_auto(GStrv) halves = g_strsplit(text, ":", 2);
  PipelineSearchPart *part = pipeline_search_space_add(space, halves[0] != NULL ? halves[0] : "", error);
  if (part == NULL) return FALSE;
  g_auto(GStrv) ranges = g_strsplit(halves[0] != NULL && halves[1] != NULL ? halves[1] : "", ",", -1);
  for (guint i = 0; ranges[i] != NULL; i++)
    if (!narrow(part, ranges[i], error)) return FALSE;
  return TRUE;
}

PipelineSearchSpace *pipeline_search_space_parse(const gchar *text, GError **error)
{
  g_autoptr(PipelineSearchSpace) space = g_new0(PipelineSearchSpace, 1);
  space->parts = g_ptr_array_new_with_free_func(part_free);
  if (text == NULL || *text == '\0') return g_steal_pointer(&space);
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

/* --- what the data let -------------------------------------------------------------------------------------------- */

/* The largest depth of which the pools leave a pixel. */
static gboolean fit_depth(PipelineSearchPart *part, guint height, guint width, GError **error)
{
  PipelineSearchDimension *depth = &part->dimensions[0];
  guint most = 0;
  while (MIN(height, width) >> (most + 1) > 0) most++;
  if (height == 0 || depth->low > most) {
    g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_INVALID,
                height == 0
                    ? "space: %s is for images (an .npz of arrays of two or three dimensions); these data are a "
                      "table"
                    : "space: %s: images of %u × %u pixels are halved at most %u times, and depth begins at %g",
                part->family->name, height, width, most, depth->low);
    return FALSE;
  }
  depth->high = MIN(depth->high, most);
  return TRUE;
}

/* A pixel is no column with a distribution of its own. */
static gboolean fit_transform(PipelineSearchPart *part, GError **error)
{
  for (guint d = 0; d < part->family->n_dimensions; d++) {
    if (!g_str_equal(part->family->table[d].name, "transform")) continue;
    g_auto(GStrv) own = g_strsplit(part->choices[d] != NULL ? part->choices[d] : "standard", ",", -1);
    if (!g_strv_contains((const gchar *const *)own, "standard")) {
      g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_INVALID,
                  "space: %s:transform: images are only standardised; leave \"standard\" among the choices",
                  part->family->name);
      return FALSE;
    }
    g_free(part->choices[d]);
    part->choices[d] = g_strdup("standard");
  }
  return TRUE;
}

gboolean pipeline_search_space_fit(PipelineSearchSpace *space, guint height, guint width, GError **error)
{
  const PipelineSearchFamily *const *families = pipeline_search_families();
  PipelineSearchData data = height > 0 ? PIPELINE_SEARCH_IMAGES : PIPELINE_SEARCH_TABLES;
  gboolean none = space->parts->len == 0;
  for (guint i = 0; none && families[i] != NULL; i++)
    if (families[i]->data == data) g_ptr_array_add(space->parts, part_new(families[i]));
  for (guint i = 0; i < space->parts->len; i++) {
    PipelineSearchPart *part = g_ptr_array_index(space->parts, i);
    if (part->family->data == PIPELINE_SEARCH_IMAGES && !fit_depth(part, height, width, error)) return FALSE;
    if (data == PIPELINE_SEARCH_IMAGES && !fit_transform(part, error)) return FALSE;
  }
  return TRUE;
}

/* --- YAML --------------------------------------------------------------------------------------------------------- */

static gboolean is_log(const PipelineSearchDimension *dimension)
{
  return dimension->scale == PIPELINE_SEARCH_LOG || dimension->scale == PIPELINE_SEARCH_LOG_INTEGER;
}

static void format_dimension(const PipelineSearchPart *part, guint d, GString *text)
{
  const PipelineSearchDimension *dimension = &part->dimensions[d];
  if (dimension->choices != NULL) {
    g_auto(GStrv) choices = g_strsplit(part->choices[d] != NULL ? part->choices[d] : dimension->choices, ",", -1);
    g_autofree gchar *list = g_strjoinv(", ", choices);
    g_string_append_printf(text, "    %s: {choices: [%s]}\n", dimension->name, list);
    return;
  }
  gchar low[G_ASCII_DTOSTR_BUF_SIZE], high[G_ASCII_DTOSTR_BUF_SIZE];
  g_string_append_printf(text, "    %s: {low: %s, high: %s, scale: %s}\n", dimension->name,
                         g_ascii_formatd(low, sizeof low, "%.9g", dimension->low),
                         g_ascii_formatd(high, sizeof high, "%.9g", dimension->high),
                         is_log(dimension) ? "log" : "linear");
}

gchar *pipeline_search_space_format(const PipelineSearchSpace *space)
{
  GString *text = g_string_new("families:\n");
  for (guint i = 0; i < space->parts->len; i++) {
    const PipelineSearchPart *part = g_ptr_array_index(space->parts, i);
    g_string_append_printf(text, "  - family: %s\n", part->family->name);
    for (guint d = 0; d < part->family->n_dimensions; d++) format_dimension(part, d, text);
  }
  return g_string_free(text, FALSE);
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
      json_t *range = choices != NULL ? json_string(choices) : json_pack("[f, f]", dimension->low, dimension->high);
      if (dimension->scale != part->family->table[d].scale)
        json_array_append_new(range, json_string(is_log(dimension) ? "log" : "linear"));
      json_object_set_new(entry, dimension->name, range);
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
