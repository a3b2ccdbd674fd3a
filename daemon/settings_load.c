/* Text -> settings: settings_lines.c notes where everything stands, libcyaml checks the structure against a schema made
 * from the table of options and gives every scalar as text, settings_value.c converts it. (libcyaml's own conversion
 * takes "12abc" for 12 and "maybe" for true.)
 *
 * libcyaml's raw record of a section is an array of slots, one an option: a pointer (to text, to the records of a list,
 * to the slots of a section) and a count (of a list). */
#include "daemon/settings_internal.h"

#include <cyaml/cyaml.h>
#include <string.h>

enum { MAXIMUM_FILE_BYTES = 1 << 20 };

typedef struct {
  gpointer data;
  guint64 count;
} Slot;

typedef struct {
  const SettingsOrigin *origin;
  GPtrArray *schemas;    /* arrays and values made for libcyaml, freed with it */
  GPtrArray *complaints; /* libcyaml's messages */
} Loader;

static guint count_options(const SettingsOption *options)
{
  guint n = 0;
  while (options[n].key != NULL) n++;
  return n;
}

static gpointer loader_allocate(Loader *loader, gsize size)
{
  gpointer memory = g_malloc0(size);
  g_ptr_array_add(loader->schemas, memory);
  return memory;
}

static const cyaml_schema_field_t *make_fields(Loader *loader, const SettingsOption *options);

static void make_value(Loader *loader, const SettingsOption *option, cyaml_schema_value_t *value)
{
  static const cyaml_schema_value_t text_item = {
      .type = CYAML_STRING, .flags = CYAML_FLAG_POINTER, .data_size = sizeof(char), .string = {0, CYAML_UNLIMITED}};
  gboolean may_be_empty = option->kind >= SETTINGS_TEXT_LIST;
  value->flags = (enum cyaml_flag)(CYAML_FLAG_OPTIONAL | (may_be_empty ? CYAML_FLAG_POINTER_NULL : CYAML_FLAG_POINTER));
  if (option->kind == SETTINGS_SECTION) {
    value->type = CYAML_MAPPING;
    value->data_size = (uint32_t)(count_options(option->section) * sizeof(Slot));
    value->mapping.fields = make_fields(loader, option->section);
  } else if (option->kind == SETTINGS_LIST) {
    cyaml_schema_value_t *item = loader_allocate(loader, sizeof *item);
    item->type = CYAML_MAPPING;
    item->data_size = (uint32_t)(count_options(option->section) * sizeof(Slot));
    item->mapping.fields = make_fields(loader, option->section);
    value->type = CYAML_SEQUENCE;
    value->data_size = item->data_size;
    value->sequence.entry = item;
    value->sequence.max = CYAML_UNLIMITED;
  } else if (option->kind == SETTINGS_TEXT_LIST) {
    value->type = CYAML_SEQUENCE;
    value->data_size = sizeof(char *);
    value->sequence.entry = &text_item;
    value->sequence.max = CYAML_UNLIMITED;
  } else {
    value->type = CYAML_STRING;
    value->data_size = sizeof(char);
    value->string.max = CYAML_UNLIMITED;
  }
}

static const cyaml_schema_field_t *make_fields(Loader *loader, const SettingsOption *options)
{
  guint n = count_options(options);
  cyaml_schema_field_t *fields = loader_allocate(loader, (n + 1) * sizeof *fields);
  for (guint i = 0; i < n; i++) {
    fields[i].key = options[i].key;
    fields[i].data_offset = (uint32_t)(i * sizeof(Slot) + G_STRUCT_OFFSET(Slot, data));
    fields[i].count_offset = (uint32_t)(i * sizeof(Slot) + G_STRUCT_OFFSET(Slot, count));
    fields[i].count_size = sizeof(guint64);
    make_value(loader, &options[i], &fields[i].value);
  }
  return fields;
}

/* --- raw slots -> records ----------------------------------------------------------------------------------------- */

static gboolean convert_section(Loader *loader, const SettingsOption *options, const Slot *slots, gpointer record,
                                const gchar *path, GError **error);

static gchar *join_path(const gchar *path, const gchar *key)
{
  return *path == '\0' ? g_strdup(key) : g_strconcat(path, ".", key, NULL);
}

static gboolean store_text(Loader *loader, const SettingsOption *option, const gchar *text, gpointer record,
                           const gchar *path, GError **error)
{
  g_autofree gchar *why = NULL;
  if (settings_value_store(option, text, record, &why)) return TRUE;
  settings_set_error(error, loader->origin, path, "%s", why);
  return FALSE;
}

/* A default may be written "quoted" or [a, b], as in the file. */
static gboolean store_default(Loader *loader, const SettingsOption *option, gpointer record, const gchar *path,
                              GError **error)
{
  if (option->fallback == NULL) return TRUE;
  g_autofree gchar *text = g_strdup(option->fallback);
  if (option->kind != SETTINGS_TEXT_LIST) {
    if (*text == '"') {
      memmove(text, text + 1, strlen(text));
      text[strlen(text) - 1] = '\0';
    }
    return store_text(loader, option, text, record, path, error);
  }
  text[strlen(text) - 1] = '\0';
  g_auto(GStrv) items = g_strsplit(text + 1, ", ", -1);
  for (guint i = 0; items[i] != NULL; i++)
    if (!store_text(loader, option, items[i], record, path, error)) return FALSE;
  return TRUE;
}

static gboolean convert_items(Loader *loader, const SettingsOption *option, const Slot *slot, gpointer record,
                              const gchar *path, GError **error)
{
  gchar **items = slot->data;
  for (guint64 i = 0; i < slot->count; i++) {
    g_autofree gchar *item_path = g_strdup_printf("%s[%" G_GUINT64_FORMAT "]", path, i);
    if (!store_text(loader, option, items[i], record, item_path, error)) return FALSE;
  }
  return TRUE;
}

static gboolean convert_list(Loader *loader, const SettingsOption *option, const Slot *slot, gpointer record,
                             const gchar *path, GError **error)
{
  guint width = count_options(option->section);
  guint8 *records = g_malloc0_n(slot->count, option->size);
  *(gpointer *)((guint8 *)record + option->offset) = records;
  *(guint *)((guint8 *)record + option->count_offset) = (guint)slot->count;
  for (guint64 i = 0; i < slot->count; i++) {
    g_autofree gchar *item_path = g_strdup_printf("%s[%" G_GUINT64_FORMAT "]", path, i);
    const Slot *item = (const Slot *)slot->data + i * width;
    if (!convert_section(loader, option->section, item, records + i * option->size, item_path, error)) return FALSE;
  }
  return TRUE;
}

static gboolean convert_scalar(Loader *loader, const SettingsOption *option, const Slot *slot, gpointer record,
                               const gchar *path, GError **error)
{
  if (slot != NULL && slot->data != NULL) return store_text(loader, option, slot->data, record, path, error);
  if (!option->required) return store_default(loader, option, record, path, error);
  settings_set_error(error, loader->origin, path, "is missing; write it: %s", option->help);
  return FALSE;
}

/* slots NULL: the section is absent and all its options take their defaults. */
static gboolean convert_section(Loader *loader, const SettingsOption *options, const Slot *slots, gpointer record,
                                const gchar *path, GError **error)
{
  for (guint i = 0; options[i].key != NULL; i++) {
    const SettingsOption *option = &options[i];
    const Slot *slot = slots == NULL ? NULL : &slots[i];
    g_autofree gchar *member = join_path(path, option->key);
    gboolean good = TRUE;
    if (option->kind == SETTINGS_SECTION) {
      good = convert_section(loader, option->section, slot == NULL ? NULL : slot->data, record, member, error);
    } else if (option->kind == SETTINGS_LIST) {
      if (slot != NULL) good = convert_list(loader, option, slot, record, member, error);
    } else if (option->kind == SETTINGS_TEXT_LIST) {
      *(gchar ***)((guint8 *)record + option->offset) = g_new0(gchar *, 1);
      good = slot != NULL && settings_places_has(loader->origin->places, member)
                 ? convert_items(loader, option, slot, record, member, error)
                 : store_default(loader, option, record, member, error);
    } else {
      good = convert_scalar(loader, option, slot, record, member, error);
    }
    if (!good) return FALSE;
  }
  return TRUE;
}

/* --- libcyaml's complaints ---------------------------------------------------------------------------------------- */

G_GNUC_PRINTF(3, 0)
static void take_complaint(cyaml_log_t level G_GNUC_UNUSED, void *context, const char *format, va_list arguments)
{
  g_ptr_array_add(((Loader *)context)->complaints, g_strchomp(g_strdup_vprintf(format, arguments)));
}

/* Whether the path "models[0].traffic.topic" is in the table. */
static gboolean is_option(const SettingsOption *options, const gchar *path)
{
  gsize length = strcspn(path, ".[");
  for (; options->key != NULL; options++) {
    if (strlen(options->key) != length || strncmp(options->key, path, length) != 0) continue;
    const gchar *rest = path + length;
    if (*rest == '[') rest = strchr(rest, ']') + 1;
    return *rest == '\0' || (options->section != NULL && is_option(options->section, rest + 1));
  }
  return FALSE;
}

static void explain_refusal(Loader *loader, cyaml_err_t code, GError **error)
{
  if (code == CYAML_ERR_INVALID_KEY)
    for (guint i = 0; i < loader->origin->places->order->len; i++) {
      const SettingsPlace *place = g_ptr_array_index(loader->origin->places->order, i);
      if (is_option(settings_options, place->path)) continue;
      settings_set_error(error, loader->origin, place->path,
                         "there is no such option; `kedge config document` lists all of them");
      return;
    }
  const gchar *text = cyaml_strerror(code);
  guint line = 1;
  for (guint i = 0; i < loader->complaints->len; i++) {
    const gchar *complaint = g_ptr_array_index(loader->complaints, i);
    const gchar *place = strstr(complaint, "(line: ");
    if (place != NULL) {
      line = (guint)g_ascii_strtoull(place + strlen("(line: "), NULL, 10);
      break;
    }
    if (i == 0) text = g_str_has_prefix(complaint, "Load: ") ? complaint + strlen("Load: ") : complaint;
  }
  g_set_error(error, DAEMON_ERROR, DAEMON_ERROR_SETTINGS, "%s:%u: %s", loader->origin->name, line, text);
}

/* Late panes cost an online mixture the rows after each change: it learns by blocks of 10, the daemon by panes. */
static guint default_label_rows(const SettingsModel *model)
{
  return g_strcmp0(model->policy.retrain_mode, "mixture") == 0 ? 20 : 100;
}

static void fill_computed(Settings *settings)
{
  for (guint i = 0; i < settings->n_models; i++) {
    SettingsModel *model = &settings->models[i];
    if (model->window.pane_events == 0) model->window.pane_events = MAX(model->window.events / 10, 1);
    if (model->window.label_rows == 0) model->window.label_rows = default_label_rows(model);
    if (model->dead_letter_topic == NULL)
      model->dead_letter_topic = g_strconcat("kedge.dead-letter.", model->name, NULL);
  }
}

static Settings *load(Loader *loader, const gchar *text, gsize length, GError **error)
{
  const cyaml_config_t config = {.log_fn = take_complaint,
                                 .log_ctx = loader,
                                 .mem_fn = cyaml_mem,
                                 .log_level = CYAML_LOG_ERROR,
                                 .flags = CYAML_CFG_NO_ALIAS};
  const cyaml_schema_value_t schema = {.type = CYAML_MAPPING,
                                       .flags = CYAML_FLAG_POINTER,
                                       .data_size = (uint32_t)(count_options(settings_options) * sizeof(Slot)),
                                       .mapping = {.fields = make_fields(loader, settings_options)}};
  Slot *slots = NULL;
  gboolean is_empty = loader->origin->places->order->len == 0; /* comments only: all defaults */
  cyaml_err_t code =
      is_empty ? CYAML_OK
               : cyaml_load_data((const uint8_t *)text, length, &config, &schema, (cyaml_data_t **)&slots, NULL);
  if (code != CYAML_OK) {
    explain_refusal(loader, code, error);
    return NULL;
  }
  Settings *settings = settings_new();
  settings->path = g_strdup(loader->origin->name);
  gboolean good = convert_section(loader, settings_options, slots, settings, "", error);
  if (slots != NULL) cyaml_free(&config, &schema, slots, 0);
  if (good) fill_computed(settings);
  if (!good || !settings_check(settings, loader->origin, error)) g_clear_pointer(&settings, settings_unref);
  return settings;
}

Settings *settings_parse_with(const gchar *name, const gchar *text, gsize length, SettingsStageCheck check,
                              GError **error)
{
  if (length > MAXIMUM_FILE_BYTES) {
    g_set_error(error, DAEMON_ERROR, DAEMON_ERROR_SETTINGS, "%s: larger than 1 MiB, which settings never are", name);
    return NULL;
  }
  g_autoptr(SettingsPlaces) places = settings_places_find(name, text, length, error);
  if (places == NULL) return NULL;
  const SettingsOrigin origin = {.name = name, .places = places, .check_stage = check};
  Loader loader = {.origin = &origin,
                   .schemas = g_ptr_array_new_with_free_func(g_free),
                   .complaints = g_ptr_array_new_with_free_func(g_free)};
  Settings *settings = load(&loader, text, length, error);
  g_ptr_array_unref(loader.schemas);
  g_ptr_array_unref(loader.complaints);
  return settings;
}

Settings *settings_parse(const gchar *name, const gchar *text, gsize length, GError **error)
{
  return settings_parse_with(name, text, length, NULL, error);
}

Settings *settings_load_with(const gchar *path, SettingsStageCheck check, GError **error)
{
  g_autofree gchar *text = NULL;
  g_autoptr(GError) cause = NULL;
  gsize length = 0;
  if (!g_file_test(path, G_FILE_TEST_IS_DIR) && g_file_get_contents(path, &text, &length, &cause))
    return settings_parse_with(path, text, length, check, error);
  g_set_error(error, DAEMON_ERROR, DAEMON_ERROR_SETTINGS, "%s: cannot be read: %s", path,
              cause != NULL ? cause->message : "it is a directory");
  return NULL;
}

Settings *settings_load(const gchar *path, GError **error)
{
  return settings_load_with(path, NULL, error);
}
