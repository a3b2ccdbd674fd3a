/* libcyaml loads values but forgets where they stood: this pass over the same text remembers the line of every option,
 * so that each complaint can name it. */
#include "daemon/settings_internal.h"

#include <string.h>
#include <yaml.h>

enum { MAXIMUM_LEVELS = 32 };

typedef struct {
  gboolean is_mapping;
  gboolean expects_value; /* a key has been read */
  guint index;            /* of the next item of a sequence */
  gchar *path;            /* of the thing whose members follow */
  gchar *member;          /* path of the member that is being read */
  GHashTable *keys;       /* of this mapping */
} Level;

typedef struct {
  const gchar *name;
  SettingsPlaces *places;
  GPtrArray *levels; /* of Level* */
  guint documents;
} Walk;

static void level_free(gpointer data)
{
  Level *level = data;
  g_free(level->path);
  g_free(level->member);
  if (level->keys != NULL) g_hash_table_unref(level->keys);
  g_free(level);
}

static void place_free(gpointer data)
{
  SettingsPlace *place = data;
  g_free(place->path);
  g_free(place);
}

G_GNUC_PRINTF(4, 5)
static gboolean refuse(const Walk *walk, gsize line, GError **error, const gchar *format, ...)
{
  va_list arguments;
  va_start(arguments, format);
  g_autofree gchar *text = g_strdup_vprintf(format, arguments);
  va_end(arguments);
  g_set_error(error, DAEMON_ERROR, DAEMON_ERROR_SETTINGS, "%s:%" G_GSIZE_FORMAT ": %s", walk->name, line, text);
  return FALSE;
}

static Level *top_level(const Walk *walk)
{
  return walk->levels->len == 0 ? NULL : g_ptr_array_index(walk->levels, walk->levels->len - 1);
}

static void remember(Walk *walk, const gchar *path, gsize line)
{
  SettingsPlace *place = g_new0(SettingsPlace, 1);
  place->path = g_strdup(path);
  place->line = (guint)line;
  g_ptr_array_add(walk->places->order, place);
  g_hash_table_replace(walk->places->by_path, place->path, place);
}

/* A value begins (scalar, mapping or sequence): in a sequence it is the next item. */
static void begin_value(Walk *walk, gsize line)
{
  Level *level = top_level(walk);
  if (level == NULL) return;
  if (level->is_mapping) {
    level->expects_value = FALSE;
    return;
  }
  g_free(level->member);
  level->member = g_strdup_printf("%s[%u]", level->path, level->index++);
  remember(walk, level->member, line);
}

static gboolean take_key(Walk *walk, Level *level, const gchar *key, gsize line, GError **error)
{
  if (!g_hash_table_add(level->keys, g_strdup(key)))
    return refuse(walk, line, error, "%s%s%s is written twice; keep one", level->path, *level->path ? "." : "", key);
  g_free(level->member);
  level->member = *level->path ? g_strconcat(level->path, ".", key, NULL) : g_strdup(key);
  level->expects_value = TRUE;
  remember(walk, level->member, line);
  return TRUE;
}

static gboolean push_level(Walk *walk, gboolean is_mapping, gsize line, GError **error)
{
  if (walk->levels->len >= MAXIMUM_LEVELS)
    return refuse(walk, line, error, "more than %d levels of nesting", MAXIMUM_LEVELS);
  Level *outer = top_level(walk);
  if (outer != NULL && outer->is_mapping && !outer->expects_value)
    return refuse(walk, line, error, "a mapping or list cannot be a key");
  begin_value(walk, line);
  Level *level = g_new0(Level, 1);
  level->is_mapping = is_mapping;
  level->path = g_strdup(outer == NULL ? "" : outer->member);
  if (is_mapping) level->keys = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
  g_ptr_array_add(walk->levels, level);
  return TRUE;
}

static gboolean take_event(Walk *walk, const yaml_event_t *event, GError **error)
{
  gsize line = event->start_mark.line + 1;
  Level *level = top_level(walk);
  switch (event->type) {
  case YAML_DOCUMENT_START_EVENT:
    if (walk->documents++ > 0) return refuse(walk, line, error, "a second document begins here; write one only");
    return TRUE;
  case YAML_ALIAS_EVENT:
    return refuse(walk, line, error, "aliases (*name) are not supported; write the value again");
  case YAML_SCALAR_EVENT:
    if (level != NULL && level->is_mapping && !level->expects_value)
      return take_key(walk, level, (const gchar *)event->data.scalar.value, line, error);
    if (level == NULL && event->data.scalar.length > 0)
      return refuse(walk, line, error, "expected \"option: value\" lines, found a bare text");
    begin_value(walk, line);
    return TRUE;
  case YAML_MAPPING_START_EVENT:
    return push_level(walk, TRUE, line, error);
  case YAML_SEQUENCE_START_EVENT:
    return push_level(walk, FALSE, line, error);
  case YAML_MAPPING_END_EVENT:
  case YAML_SEQUENCE_END_EVENT:
    g_ptr_array_set_size(walk->levels, (gint)walk->levels->len - 1);
    return TRUE;
  default:
    return TRUE;
  }
}

static gboolean walk_events(Walk *walk, yaml_parser_t *parser, GError **error)
{
  for (gboolean ended = FALSE; !ended;) {
    yaml_event_t event;
    if (!yaml_parser_parse(parser, &event)) {
      gsize line = MAX(parser->problem_mark.line, parser->context_mark.line) + 1;
      return refuse(walk, line, error, "not YAML: %s%s%s", parser->problem != NULL ? parser->problem : "cannot be read",
                    parser->context != NULL ? " " : "", parser->context != NULL ? parser->context : "");
    }
    ended = event.type == YAML_STREAM_END_EVENT;
    gboolean good = take_event(walk, &event, error);
    yaml_event_delete(&event);
    if (!good) return FALSE;
  }
  return TRUE;
}

static SettingsPlaces *places_new(void)
{
  SettingsPlaces *places = g_new0(SettingsPlaces, 1);
  places->order = g_ptr_array_new_with_free_func(place_free);
  places->by_path = g_hash_table_new(g_str_hash, g_str_equal);
  return places;
}

void settings_places_free(SettingsPlaces *places)
{
  if (places == NULL) return;
  g_hash_table_unref(places->by_path);
  g_ptr_array_unref(places->order);
  g_free(places);
}

SettingsPlaces *settings_places_find(const gchar *name, const gchar *text, gsize length, GError **error)
{
  yaml_parser_t parser;
  if (!yaml_parser_initialize(&parser)) {
    g_set_error(error, DAEMON_ERROR, DAEMON_ERROR_SETTINGS, "%s: not enough memory to read it", name);
    return NULL;
  }
  yaml_parser_set_input_string(&parser, (const unsigned char *)text, length);
  Walk walk = {.name = name, .places = places_new(), .levels = g_ptr_array_new_with_free_func(level_free)};
  gboolean good = walk_events(&walk, &parser, error);
  yaml_parser_delete(&parser);
  g_ptr_array_unref(walk.levels);
  if (!good) g_clear_pointer(&walk.places, settings_places_free);
  return walk.places;
}

gboolean settings_places_has(const SettingsPlaces *places, const gchar *path)
{
  return g_hash_table_contains(places->by_path, path);
}

guint settings_places_line(const SettingsPlaces *places, const gchar *path)
{
  g_autofree gchar *wanted = g_strdup(path);
  while (*wanted != '\0') {
    const SettingsPlace *place = g_hash_table_lookup(places->by_path, wanted);
    if (place != NULL) return place->line;
    gchar *dot = strrchr(wanted, '.'), *bracket = strrchr(wanted, '[');
    gchar *cut = MAX(dot, bracket);
    *(cut != NULL ? cut : wanted) = '\0';
  }
  return 1;
}
