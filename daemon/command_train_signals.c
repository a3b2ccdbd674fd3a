/* Signals that end a training with a checkpoint. A handler can do no more than note them, and has no argument: hence
 * the one variable of the program's that it writes. (A descriptor of signals would miss those that a thread of the
 * numerical libraries takes.) */
#include <signal.h>

#include "daemon/command_train_internal.h"

static volatile sig_atomic_t came;

static void note(int number)
{
  (void)number;
  came = 1;
}

void command_train_signals_begin(void)
{
  struct sigaction action = {.sa_handler = note, .sa_flags = SA_RESTART};
  sigemptyset(&action.sa_mask);
  came = 0;
  sigaction(SIGINT, &action, NULL);
  sigaction(SIGTERM, &action, NULL);
  sigaction(SIGUSR1, &action, NULL);
}

gboolean command_train_signals_came(gpointer user_data)
{
  (void)user_data;
  return came != 0;
}

void command_train_signals_end(void)
{
  struct sigaction action = {.sa_handler = SIG_DFL};
  sigemptyset(&action.sa_mask);
  sigaction(SIGINT, &action, NULL);
  sigaction(SIGTERM, &action, NULL);
  sigaction(SIGUSR1, &action, NULL);
}
