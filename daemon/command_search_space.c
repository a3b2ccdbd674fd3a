/* --space of `kedge search`: a text, or a YAML file. libcyaml checks its structure and gives every value as text; the
 * ranges themselves are pipeline/search_space.h's. */
#include <cyaml/cyaml.h>
#include <string.h>

#include "daemon/command_search_internal.h"
#include "daemon/settings_internal.h"
#include "pipeline/search_families.h"

#define MAX_FILE_BYTES (1 << 20)
#define MAX_NAMES 64u

/* What the file says about a dimension, as libcyaml fills it. */
typedef struct {
  gchar *low, *high, *scale, *value;
  gchar **choices;
  unsigned choices_count;
} Range;

/* A family: its name, and a range (or NULL) for every dimension that any family has. */
typedef struct {
  gchar *family;
  Range *ranges[MAX_NAMES];
} Entry;

typedef struct {
  Entry *families;
  unsigned families_count;
} File;

typedef struct {
  SettingsOrigin origin;
  const gchar *names[MAX_NAMES + 1]; /* of all dimensions */
  cyaml_schema_field_t fields[MAX_NAMES + 2];
  gchar *complaint; /* libcyaml's first */
  guint line;       /* the first that it names; 0: none */
} Reader;

static gboolean fail(const Reader *reader, const gchar *path, const gchar *what, GError **error)
{
  g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_INVALID, "%s:%u: %s%s%s", reader->origin.name,
              settings_places_line(reader->origin.places, path), path, *path != '\0' ? ": " : "", what);
  return FALSE;
}

/* --- the structure ------------------------------------------------------------------------------------------------ */

static const cyaml_schema_value_t text_value = {CYAML_VALUE_STRING(CYAML_FLAG_POINTER, char, 0, CYAML_UNLIMITED)};
static const cyaml_schema_field_t range_fields[] = {
    CYAML_FIELD_STRING_PTR("low", CYAML_FLAG_POINTER | CYAML_FLAG_OPTIONAL, Range, low, 0, CYAML_UNLIMITED),
    CYAML_FIELD_STRING_PTR("high", CYAML_FLAG_POINTER | CYAML_FLAG_OPTIONAL, Range, high, 0, CYAML_UNLIMITED),
    CYAML_FIELD_STRING_PTR("scale", CYAML_FLAG_POINTER | CYAML_FLAG_OPTIONAL, Range, scale, 0, CYAML_UNLIMITED),
    CYAML_FIELD_STRING_PTR("value", CYAML_FLAG_POINTER | CYAML_FLAG_OPTIONAL, Range, value, 0, CYAML_UNLIMITED),
    CYAML_FIELD_SEQUENCE("choices", CYAML_FLAG_POINTER | CYAML_FLAG_OPTIONAL, Range, choices, &text_value, 1,
                         CYAML_UNLIMITED),
    CYAML_FIELD_END};

/* The fields of an entry, from the tables of the families. */
static void make_fields(Reader *reader)
{
  const PipelineSearchFamily *const *families = pipeline_search_families();
  guint n = 0;
  for (guint i = 0; families[i] != NULL; i++)
    for (guint d = 0; d < families[i]->n_dimensions; d++)
      if (!g_strv_contains(reader->names, families[i]->table[d].name) && n < MAX_NAMES)
        reader->names[n++] = families[i]->table[d].name;
  reader->fields[0] =
      (cyaml_schema_field_t)CYAML_FIELD_STRING_PTR("family", CYAML_FLAG_POINTER, Entry, family, 0, CYAML_UNLIMITED);
  for (guint k = 0; k < n; k++) {
    cyaml_schema_field_t *field = &reader->fields[k + 1];
    *field = (cyaml_schema_field_t)CYAML_FIELD_MAPPING_PTR("", CYAML_FLAG_POINTER | CYAML_FLAG_OPTIONAL, Entry,
                                                           ranges[0], range_fields);
    field->key = reader->names[k];
    field->data_offset += k * (uint32_t)sizeof(Range *);
  }
  reader->fields[n + 1] = (cyaml_schema_field_t)CYAML_FIELD_END;
}

G_GNUC_PRINTF(3, 0)
static void take_complaint(cyaml_log_t level G_GNUC_UNUSED, void *context, const char *format, va_list arguments)
{
  Reader *reader = context;
  g_autofree gchar *text = g_strchomp(g_strdup_vprintf(format, arguments));
  const gchar *place = strstr(text, "(line: ");
  if (place != NULL && reader->line == 0) reader->line = (guint)g_ascii_strtoull(place + 7, NULL, 10);
  if (reader->complaint == NULL) reader->complaint = g_strdup(g_str_has_prefix(text, "Load: ") ? text + 6 : text);
}

/* A key that no structure has, with its place; NULL: it was something else. */
static const gchar *find_unknown(const Reader *reader)
{
  for (guint i = 0; i < reader->origin.places->order->len; i++) {
    const gchar *path = ((SettingsPlace *)g_ptr_array_index(reader->origin.places->order, i))->path;
    if (!g_str_has_prefix(path, "families")) return path;
    const gchar *entry = strchr(path, '.'), *range = entry != NULL ? strchr(entry + 1, '.') : NULL;
    if (entry == NULL) continue;
    g_autofree gchar *name = range != NULL ? g_strndup(entry + 1, (gsize)(range - entry - 1)) : g_strdup(entry + 1);
    if (!g_str_equal(name, "family") && !g_strv_contains(reader->names, name)) return path;
    if (range == NULL) continue;
    g_autofree gchar *member = g_strndup(range + 1, strcspn(range + 1, "["));
    static const gchar *const members[] = {"low", "high", "scale", "value", "choices", NULL};
    if (!g_strv_contains(members, member)) return path;
  }
  return NULL;
}

static gboolean refuse(const Reader *reader, cyaml_err_t code, GError **error)
{
  const gchar *unknown = code == CYAML_ERR_INVALID_KEY ? find_unknown(reader) : NULL;
  if (unknown != NULL)
    return fail(reader, unknown,
                "there is no such field: \"families\" is a list of {family, DIMENSION: {low, high, scale, value or "
                "choices}, …}; kedge search --print-space shows all",
                error);
  g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_INVALID, "%s:%u: %s", reader->origin.name, MAX(reader->line, 1),
              reader->complaint != NULL ? reader->complaint : cyaml_strerror(code));
  return FALSE;
}

/* --- the space ---------------------------------------------------------------------------------------------------- */

/* The range as pipeline_search_part_narrow reads it, new; NULL with *why. */
static gchar *format_range(const PipelineSearchPart *part, guint d, const Range *range, const gchar **why)
{
  const PipelineSearchDimension *dimension = &part->family->table[d];
  gboolean bounds = range->low != NULL || range->high != NULL;
  if ((range->choices != NULL) + (range->value != NULL) + bounds > 1) {
    *why = "write low and high, or value, or choices, and not more than one of them";
    return NULL;
  }
  if (range->choices != NULL) {
    g_autoptr(GString) text = g_string_new("");
    for (unsigned i = 0; i < range->choices_count; i++)
      g_string_append_printf(text, "%s%s", i > 0 ? "|" : "", range->choices[i]);
    return g_strdup(text->str);
  }
  if (range->value != NULL) return g_strdup(range->value);
  if (!bounds) return NULL;
  if (dimension->choices != NULL) {
    *why = "it has choices, no low and high";
    return NULL;
  }
  gchar low[G_ASCII_DTOSTR_BUF_SIZE], high[G_ASCII_DTOSTR_BUF_SIZE];
  g_ascii_dtostr(low, sizeof low, dimension->low);
  g_ascii_dtostr(high, sizeof high, dimension->high);
  return g_strdup_printf("%s..%s", range->low != NULL ? range->low : low, range->high != NULL ? range->high : high);
}

static gboolean take_range(const Reader *reader, PipelineSearchPart *part, const gchar *name, const Range *range,
                           const gchar *path, GError **error)
{
  g_autoptr(GError) cause = NULL;
  const gchar *why = NULL;
  g_autofree gchar *text = NULL;
  for (guint d = 0; d < part->family->n_dimensions && text == NULL && why == NULL; d++)
    if (g_str_equal(part->family->table[d].name, name)) text = format_range(part, d, range, &why);
  if (why != NULL) return fail(reader, path, why, error);
  return pipeline_search_part_narrow(part, name, text, range->scale, &cause) ||
         fail(reader, path, cause->message, error);
}

static gboolean take_entry(const Reader *reader, const Entry *entry, guint number, PipelineSearchSpace *space,
                           GError **error)
{
  g_autoptr(GError) cause = NULL;
  g_autofree gchar *path = g_strdup_printf("families[%u]", number), *family = g_strconcat(path, ".family", NULL);
  PipelineSearchPart *part = pipeline_search_space_add(space, entry->family, &cause);
  if (part == NULL) return fail(reader, family, cause->message, error);
  for (guint k = 0; reader->names[k] != NULL; k++) {
    g_autofree gchar *member = g_strdup_printf("%s.%s", path, reader->names[k]);
    if (entry->ranges[k] != NULL && !take_range(reader, part, reader->names[k], entry->ranges[k], member, error))
      return FALSE;
  }
  return TRUE;
}

static gboolean take_file(Reader *reader, const gchar *text, gsize length, PipelineSearchSpace *space, GError **error)
{
  const cyaml_schema_value_t entry = {CYAML_VALUE_MAPPING(CYAML_FLAG_DEFAULT, Entry, reader->fields)};
  const cyaml_schema_field_t fields[] = {
      CYAML_FIELD_SEQUENCE("families", CYAML_FLAG_POINTER, File, families, &entry, 1, CYAML_UNLIMITED),
      CYAML_FIELD_END};
  const cyaml_schema_value_t top = {CYAML_VALUE_MAPPING(CYAML_FLAG_POINTER, File, fields)};
  const cyaml_config_t config = {.log_fn = take_complaint,
                                 .log_ctx = reader,
                                 .mem_fn = cyaml_mem,
                                 .log_level = CYAML_LOG_ERROR,
                                 .flags = CYAML_CFG_NO_ALIAS};
  File *file = NULL;
  cyaml_err_t code = cyaml_load_data((const uint8_t *)text, length, &config, &top, (cyaml_data_t **)&file, NULL);
  if (code != CYAML_OK) return refuse(reader, code, error);
  gboolean good = TRUE;
  for (unsigned i = 0; good && i < file->families_count; i++)
    good = take_entry(reader, &file->families[i], i, space, error);
  cyaml_free(&config, &top, file, 0);
  return good;
}

static PipelineSearchSpace *read_file(const gchar *path, GError **error)
{
  g_autofree gchar *text = NULL;
  gsize length = 0;
  if (!g_file_get_contents(path, &text, &length, error)) return NULL;
  if (length > MAX_FILE_BYTES) {
    g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_INVALID, "%s: larger than 1 MiB, which spaces never are", path);
    return NULL;
  }
  g_autoptr(SettingsPlaces) places = settings_places_find(path, text, length, error);
  if (places == NULL) return NULL;
  g_autoptr(PipelineSearchSpace) space = pipeline_search_space_parse(NULL, error);
  Reader reader = {.origin = {path, places}};
  make_fields(&reader);
  gboolean good = space != NULL && take_file(&reader, text, length, space, error);
  g_free(reader.complaint);
  return good ? g_steal_pointer(&space) : NULL;
}

PipelineSearchSpace *command_search_space_read(const gchar *text, GError **error)
{
  gboolean file = text != NULL && (g_str_has_suffix(text, ".yaml") || g_str_has_suffix(text, ".yml"));
  return file ? read_file(text, error) : pipeline_search_space_parse(text, error);
}
