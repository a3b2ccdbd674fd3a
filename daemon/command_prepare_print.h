/* The report of `kedge prepare` for people. */
#pragma once

#include "daemon/command.h"

G_BEGIN_DECLS

void command_prepare_print(json_t *report);

G_END_DECLS
