/* The options of cleaning, of `kedge prepare` and `kedge train`. */
#pragma once

#include "daemon/command.h"
#include "pipeline/clean.h"

G_BEGIN_DECLS

typedef struct {
  gchar *what; /* owned; NULL: nothing is cleaned */
  gint window;
  double hampel_limit;
} CommandCleanArguments;
void command_clean_init(CommandCleanArguments *arguments);
void command_clean_clear(CommandCleanArguments *arguments);
/* Appended to an array of GOptionEntry. */
void command_clean_entries(CommandCleanArguments *arguments, GArray *entries);
/* What is wrong with them, or NULL. */
const gchar *command_clean_check(const CommandCleanArguments *arguments);
/* Fills options, which the caller clears on failure too. */
gboolean command_clean_read(const CommandCleanArguments *arguments, guint64 seed, PipelineCleanOptions *options,
                            GError **error);
/* The report of pipeline_clean for people; nothing for NULL. */
void command_clean_print(json_t *cleaning);

G_END_DECLS
