/* The table of commands: `kedge help`, the man page and the completion are made from it.
 * Adding one: write daemon/command_NOUN.c with a `const Command command_NOUN_VERB`, and add a line here. */
#include "daemon/command.h"

/* One line a command, in the order in which `kedge help` lists them. */
#define COMMANDS(X)                                                                                                    \
  X(model_add)                                                                                                         \
  X(model_list)                                                                                                        \
  X(model_show)                                                                                                        \
  X(version_list)                                                                                                      \
  X(version_show)                                                                                                      \
  X(promote)                                                                                                           \
  X(rollback)                                                                                                          \
  X(history)                                                                                                           \
  X(diff)                                                                                                              \
  X(export)                                                                                                            \
  X(verify)                                                                                                            \
  X(prepare)                                                                                                           \
  X(train)                                                                                                             \
  X(search)                                                                                                            \
  X(search_trial)                                                                                                      \
  X(evaluate)                                                                                                          \
  X(attack)                                                                                                            \
  X(harden)                                                                                                            \
  X(smooth)                                                                                                            \
  X(compress)                                                                                                          \
  X(drift_estimate)                                                                                                    \
  X(bias)                                                                                                              \
  X(predict)                                                                                                           \
  X(drift_stream)                                                                                                      \
  X(status)                                                                                                            \
  X(incidents)                                                                                                         \
  X(why)                                                                                                               \
  X(replay)                                                                                                            \
  X(drift_test)                                                                                                        \
  X(profile)                                                                                                           \
  X(simulate)                                                                                                          \
  X(job_list)                                                                                                          \
  X(job_show)                                                                                                          \
  X(job_follow)                                                                                                        \
  X(job_cancel)                                                                                                        \
  X(job_start)                                                                                                         \
  X(job_run)                                                                                                           \
  X(job_train)                                                                                                         \
  X(worker)                                                                                                            \
  X(broker)                                                                                                            \
  X(shard_list)                                                                                                        \
  X(shard_reset)                                                                                                       \
  X(wait)                                                                                                              \
  X(config_check)                                                                                                      \
  X(config_show)                                                                                                       \
  X(config_document)                                                                                                   \
  X(help)                                                                                                              \
  X(completion)

#define DECLARE(name) extern const Command command_##name;
#define LIST(name) &command_##name,

COMMANDS(DECLARE)
const Command *const commands[] = {COMMANDS(LIST) NULL};
