#include <glib-unix.h>
#include <stdio.h>
#include <string.h>
#include <stdlib.h>
#include "daemon/command.h"
#include "daemon/source_mock.h"
extern const Command command_broker;
static gboolean quit(gpointer loop) { g_main_loop_quit(loop); return G_SOURCE_CONTINUE; }
static int run(int argc, char **argv)
{
  gboolean mock_flag = FALSE; gchar *file = NULL; gchar **topics = NULL;
  const GOptionEntry entries[] = {{"mock", 0, 0, G_OPTION_ARG_NONE, &mock_flag, "", NULL},{"listen-file", 0, 0, G_OPTION_ARG_FILENAME, &file, "", "F"},{"topic", 0, 0, G_OPTION_ARG_STRING_ARRAY, &topics, "", "T"}, G_OPTION_ENTRY_NULL};
  CommandCommon common;
  if (!command_parse(&command_broker, &argc, &argv, entries, &common)) return COMMAND_USAGE;
  g_autoptr(GError) error = NULL;
  SourceMock *mock = source_mock_new(&error);
  if (!mock) return command_fail(&common, error);
  for (guint i = 0; topics && topics[i]; i++) { char *c = strrchr(topics[i], ':'); int n = c ? atoi(c + 1) : 1; if (c) *c = 0; source_mock_create_topic(mock, topics[i], n, NULL); }
  g_file_set_contents(file, source_mock_get_bootstrap(mock), -1, NULL);
  GMainLoop *loop = g_main_loop_new(NULL, FALSE);
  g_unix_signal_add(15, quit, loop); g_unix_signal_add(2, quit, loop);
  g_main_loop_run(loop);
  source_mock_free(mock);
  return 0;
}
const Command command_broker = {.name = "broker", .arguments = "", .summary = "", .run = run};
