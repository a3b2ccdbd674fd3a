/* The table of options and how it is walked. Only the settings_*.c files, `kedge config`, command_search_space.c
 * (places) and their tests include this.
 *
 * An option's value lives at `offset` in the structure of its *record*: the root (Settings) or the item of the nearest
 * list around it (SettingsModel, SettingsTarget, SettingsWebhook). Sections group options without a record of their
 * own.
 */
#pragma once

#include "daemon/settings.h"

G_BEGIN_DECLS

typedef enum {
  SETTINGS_BOOLEAN,   /* gboolean */
  SETTINGS_UINT,      /* guint */
  SETTINGS_INT64,     /* gint64 */
  SETTINGS_UINT64,    /* guint64 */
  SETTINGS_DOUBLE,    /* double */
  SETTINGS_TEXT,      /* gchar* */
  SETTINGS_CHOICE,    /* gchar*: one of `choices` */
  SETTINGS_INDEX,     /* gint: the place in `choices` */
  SETTINGS_TEXT_LIST, /* gchar**: each one of `choices` if there are any */
  SETTINGS_SECTION,   /* options of `section`, in the same record */
  SETTINGS_LIST       /* array of records, and a guint at count_offset */
} SettingsKind;

typedef struct _SettingsOption SettingsOption;
struct _SettingsOption {
  const gchar *key;
  SettingsKind kind;
  gsize offset, count_offset;
  gboolean required;
  const gchar *fallback;         /* the default as it would be written; NULL: required, or see `computed` */
  const gchar *computed;         /* how the default follows from other options; the loader's code says the same */
  double minimum, maximum;       /* of numbers, both allowed */
  const gchar *const *choices;   /* NULL-terminated */
  const gchar *unit;             /* NULL: none */
  const gchar *help;             /* sentences */
  const SettingsOption *section; /* of SECTION and LIST: ends with key NULL */
  gsize size;                    /* of a record of LIST */
};
extern const SettingsOption settings_options[]; /* of Settings; ends with key NULL */

/* --- settings_lines.c: where each option stands in the file ------------------------------------------------------ */
typedef struct {
  gchar *path; /* "models[0].traffic.topic" */
  guint line;  /* from 1 */
} SettingsPlace;
typedef struct {
  GPtrArray *order;    /* every key and list item as they come in the file: SettingsPlace*, owned */
  GHashTable *by_path; /* path -> SettingsPlace*, borrowed */
} SettingsPlaces;
/* Refuses what is not YAML, a second document, aliases, keys written twice and more than 32 levels; the error names
 * file and line. */
SettingsPlaces *settings_places_find(const gchar *name, const gchar *text, gsize length, GError **error);
void settings_places_free(SettingsPlaces *places);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(SettingsPlaces, settings_places_free)
gboolean settings_places_has(const SettingsPlaces *places, const gchar *path);
/* The line of the path, or of the nearest thing around it; 1 when there is none. */
guint settings_places_line(const SettingsPlaces *places, const gchar *path);

/* --- settings_value.c: one option's text <-> its place in the record ---------------------------------------------- */
/* FALSE: *why (new text) says what is wrong and what to write; nothing is stored. */
gboolean settings_value_store(const SettingsOption *option, const gchar *text, gpointer record, gchar **why);
/* As it would be written in the file (new). */
gchar *settings_value_format(const SettingsOption *option, gconstpointer record);
const gchar *settings_kind_text(SettingsKind kind);
void settings_record_clear(const SettingsOption *options, gpointer record);

/* --- settings.c: one reference, everything zero ---------------------------------------------------------------- */
Settings *settings_new(void);

/* --- settings_check.c ------------------------------------------------------------------------------------------- */
typedef struct {
  const gchar *name;
  const SettingsPlaces *places;
  SettingsStageCheck check_stage; /* NULL: none */
} SettingsOrigin;
G_GNUC_PRINTF(4, 5)
void settings_set_error(GError **error, const SettingsOrigin *origin, const gchar *path, const gchar *format, ...);
/* What one option alone cannot say. */
gboolean settings_check(const Settings *settings, const SettingsOrigin *origin, GError **error);

/* settings_chain.c: policy.chain of the model, which stands at `at`. */
gboolean settings_check_chain(const SettingsModel *model, const gchar *at, const SettingsOrigin *origin,
                              GError **error);

/* --- settings_document.c: the table as documentation, settings as YAML -------------------------------------------- */
gchar *settings_document_markdown(void);
gchar *settings_document_man(void); /* the OPTIONS section of kedge.yaml(5), in roff */
/* Every option with its value in force; secrets among the broker's properties are masked. */
gchar *settings_to_yaml(const Settings *settings);

G_END_DECLS
