/* The command table of `kedge`: one file per command (daemon/command_NOUN.c), listed in daemon/commands.c. */
#pragma once

#include <glib.h>
#include <jansson.h>

G_BEGIN_DECLS

/* Exit statuses (stable). */
enum { COMMAND_DONE = 0, COMMAND_FAILED = 1, COMMAND_USAGE = 2, COMMAND_NO = 3 };

typedef struct {
  const gchar *name;      /* "drift test", "model add", "train": one or two words */
  const gchar *arguments; /* "--data D --label L [--epochs N] -o OUT.onnx" */
  const gchar *summary;   /* one line */
  const gchar *help;      /* paragraphs for `kedge help NAME` and the man page; NULL: none */
  const gchar *output;    /* the same of what --json and logs hold, where that is long; NULL: none */
  /* argv[0] is the command's name; options are parsed with GOptionContext through command_parse. */
  int (*run)(int argc, char **argv);
} Command;

extern const Command *const commands[]; /* NULL-terminated */

/* The command that argv[1] (and argv[2], when its name has two words) name; *n_words gets 1 or 2. NULL: none. */
const Command *command_find(int argc, char **argv, int *n_words);

/* Parses argv by `entries` (NULL: none) plus the common ones (--config FILE, --store URI, --artifacts DIR, --json,
 * --quiet). What is not an option stays in argv from argv[1]. --help prints the command's help and exits.
 * FALSE: usage error, already printed; return COMMAND_USAGE. */
typedef struct {
  gboolean json, quiet;
  gchar *config, *store, *artifacts;
} CommandCommon;
gboolean command_parse(const Command *command, int *argc, char ***argv, const GOptionEntry *entries,
                       CommandCommon *common);
void command_common_clear(CommandCommon *common);
/* Prints "kedge NAME: message" to standard error (or {"error": …} on standard output with --json); COMMAND_FAILED. */
int command_fail(const CommandCommon *common, const GError *error);
/* The same for a wrong use of the command; names its --help; clears common; COMMAND_USAGE. */
int command_usage(CommandCommon *common, const gchar *format, ...) G_GNUC_PRINTF(2, 3);

/* The end of a command that reports: prints `report` (taken; NULL: fails with error) as JSON or by `print`, clears
 * common. */
int command_report(CommandCommon *common, json_t *report, const GError *error, void (*print)(json_t *report));

/* A table for people: right-aligned numbers, headers, fits the terminal's width. */
typedef struct _CommandTable CommandTable;
CommandTable *command_table_new(const gchar *const *headers); /* a header beginning with '>' is right-aligned */
void command_table_add(CommandTable *table, ...) G_GNUC_NULL_TERMINATED; /* gchar* cells, copied */
void command_table_print(CommandTable *table);                           /* prints and frees */
/* The table as text of lines at most `width` wide (0: as wide as it needs); new. */
gchar *command_table_format(const CommandTable *table, guint width);
void command_table_free(CommandTable *table);
/* Columns of the terminal on standard output; 0 when it is not one. */
guint command_terminal_width(void);

/* Cells: texts of JSON values as reports print them (new). NULL, null and undefined give "–". */
gchar *command_text_count(json_t *value);                /* 1204 → "1,204" */
gchar *command_text_real(json_t *value, guint decimals); /* "0.757" */
gchar *command_text_time(json_t *value);                 /* ISO 8601 → "2026-11-26 10:48:05" (UTC) */
gchar *command_text(json_t *value);                      /* strings as they are, true/false → yes/no */
/* An object as a table, one line a field, nested values as compact JSON; without the field `left_out` (or NULL). */
void command_print_fields(json_t *object, const gchar *left_out);

/* A progress bar on a terminal, a line a tenth otherwise, nothing with --quiet or --json. */
typedef struct _CommandProgress CommandProgress;
CommandProgress *command_progress_new(const CommandCommon *common, const gchar *title);
void command_progress_update(CommandProgress *progress, double fraction, const gchar *text);
void command_progress_finish(CommandProgress *progress, const gchar *text);

void command_print_json(json_t *value); /* prints with a newline, sorted keys off, and decrefs */

G_END_DECLS
