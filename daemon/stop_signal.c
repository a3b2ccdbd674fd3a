#include "daemon/stop_signal.h"

#include <signal.h>
#include <unistd.h>

static void fill(sigset_t *signals)
{
  sigemptyset(signals);
  sigaddset(signals, SIGTERM);
  sigaddset(signals, SIGINT);
}

static gpointer listen_for_stop(gpointer stop)
{
  sigset_t signals;
  fill(&signals);
  int number = 0;
  sigwait(&signals, &number);
  /* Whoever asks twice does not want to wait. */
  signal(SIGTERM, SIG_DFL);
  signal(SIGINT, SIG_DFL);
  pthread_sigmask(SIG_UNBLOCK, &signals, NULL);
  g_cancellable_cancel(stop);
  g_object_unref(stop);
  for (;;) pause(); /* stays, so that there is a thread that takes the second one */
  return NULL;
}

GCancellable *stop_signal_listen(void)
{
  sigset_t signals;
  fill(&signals);
  pthread_sigmask(SIG_BLOCK, &signals, NULL);
  GCancellable *stop = g_cancellable_new();
  g_thread_unref(g_thread_new("signals", listen_for_stop, g_object_ref(stop)));
  return stop;
}
