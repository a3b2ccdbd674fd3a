/* The table of commands: `kedge help`, the man page and the completion are made from it.
 * Adding one: write daemon/command_NOUN.c with a `const Command command_NOUN_VERB`, and add a line here. */
#include "daemon/command.h"

/* One line a command, in the order in which `kedge help` lists them. */
#define COMMANDS(X)                                                                                                    \
  X(help)                                                                                                              \
  X(completion)

#define DECLARE(name) extern const Command command_##name;
#define LIST(name) &command_##name,

COMMANDS(DECLARE)
const Command *const commands[] = {COMMANDS(LIST) NULL};
