/* Texts made from the command table. */
#pragma once

#include <stdio.h>

#include "daemon/command.h"

G_BEGIN_DECLS

void command_help_overview(FILE *out);
/* Says which commands begin like argv[1]; COMMAND_USAGE. */
int command_help_unknown(int argc, char **argv);
/* The command's own options as it describes them (see command_parse): a JSON array; NULL with error. */
json_t *command_help_get_options(const Command *command, GError **error);

G_END_DECLS
