#include "daemon/process_limits.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "daemon/command.h"

#define OUT_OF_MEMORY                                                                                                  \
  "there is not enough memory; raise the limit (ulimit -v, MemoryMax=, limits.memory_bytes of a job) or give fewer "   \
  "rows"

/* GLib has no other way to say that memory is out than this message (g_malloc in glib/gmem.c), after which it aborts.
 * Nothing is allocated here. */
static GLogWriterOutput write_log(GLogLevelFlags level, const GLogField *fields, gsize n_fields, gpointer as_json)
{
  const gchar *message = NULL;
  for (gsize i = 0; i < n_fields; i++)
    if (strcmp(fields[i].key, "MESSAGE") == 0) message = fields[i].value;
  if (!(level & G_LOG_LEVEL_ERROR) || message == NULL || strstr(message, "failed to allocate") == NULL)
    return g_log_writer_default(level, fields, n_fields, NULL);
  static const char text[] = "kedge: " OUT_OF_MEMORY "\n", json[] = "{\"error\": \"" OUT_OF_MEMORY "\"}\n";
  if (write(STDERR_FILENO, text, sizeof text - 1) < 0 ||
      (as_json != NULL && write(STDOUT_FILENO, json, sizeof json - 1) < 0))
    _exit(COMMAND_FAILED); /* nobody reads: the status says it */
  _exit(COMMAND_FAILED);
}

void process_limits_init(int argc, char **argv)
{
  gboolean json = FALSE;
  for (int i = 1; i < argc; i++) json = json || strcmp(argv[i], "--json") == 0;
  signal(SIGXFSZ, SIG_IGN);
  g_log_set_writer_func(write_log, GINT_TO_POINTER(json), NULL);
}

void process_limits_leave(int status)
{
  struct rlimit limit;
  if (getrlimit(RLIMIT_AS, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY) exit(status);
  fflush(NULL);
  _exit(status);
}
