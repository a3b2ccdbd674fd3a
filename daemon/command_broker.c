/* `kedge broker --mock`: the embedded broker in a process of its own. */
#include <glib-unix.h>
#include <stdio.h>

#include "daemon/command.h"
#include "daemon/settings.h"
#include "daemon/source_mock.h"
#include "daemon/source_mock_relay.h"

extern const Command command_broker;

typedef struct {
  gboolean mock;
  gchar *listen, *listen_file;
  gchar **topics;
} Options;

static void options_clear(Options *options)
{
  g_free(options->listen);
  g_free(options->listen_file);
  g_strfreev(options->topics);
}

/* "NAME:PARTITIONS", or "NAME" for one partition. */
static gboolean create_topic(SourceMock *mock, const gchar *text, GError **error)
{
  g_auto(GStrv) parts = g_strsplit(text, ":", 2);
  guint64 partitions = 1;
  if (*parts[0] == '\0' ||
      (parts[1] != NULL && !g_ascii_string_to_unsigned(parts[1], 10, 1, 1000, &partitions, NULL))) {
    g_set_error(error, DAEMON_ERROR, DAEMON_ERROR_SETTINGS, "--topic '%s' is not NAME:PARTITIONS (1 to 1000)", text);
    return FALSE;
  }
  return source_mock_create_topic(mock, parts[0], (gint)partitions, error);
}

static gboolean quit(gpointer loop)
{
  g_main_loop_quit(loop);
  return G_SOURCE_REMOVE;
}

static gboolean announce(const Options *options, const CommandCommon *common, const gchar *address, GError **error)
{
  if (common->json)
    command_print_json(json_pack("{s:s}", "bootstrap", address));
  else if (!common->quiet)
    printf("%s\n", address);
  fflush(stdout);
  g_autofree gchar *line = g_strconcat(address, "\n", NULL);
  return options->listen_file == NULL || g_file_set_contents(options->listen_file, line, -1, error); /* renames */
}

static gboolean serve(const Options *options, const CommandCommon *common, SourceMock *mock, GError **error)
{
  for (guint i = 0; options->topics != NULL && options->topics[i] != NULL; i++)
    if (!create_topic(mock, options->topics[i], error)) return FALSE;
  const gchar *address = source_mock_get_bootstrap(mock);
  SourceMockRelay *relay = NULL;
  if (options->listen != NULL) {
    if ((relay = source_mock_relay_new(options->listen, address, error)) == NULL) return FALSE;
    address = options->listen;
  }
  g_autoptr(GMainLoop) loop = g_main_loop_new(NULL, FALSE);
  g_unix_signal_add(SIGTERM, quit, loop);
  g_unix_signal_add(SIGINT, quit, loop);
  gboolean good = announce(options, common, address, error);
  if (good) g_main_loop_run(loop);
  source_mock_relay_free(relay);
  return good;
}

static int run(int argc, char **argv)
{
  Options options = {0};
  const GOptionEntry entries[] = {
      {"mock", 0, 0, G_OPTION_ARG_NONE, &options.mock, "the broker that is built in (the only kind)", NULL},
      {"listen", 0, 0, G_OPTION_ARG_STRING, &options.listen, "fixed loopback address to bootstrap from", "HOST:PORT"},
      {"listen-file", 0, 0, G_OPTION_ARG_FILENAME, &options.listen_file, "write the address here when ready", "FILE"},
      {"topic", 0, 0, G_OPTION_ARG_STRING_ARRAY, &options.topics, "make a topic; may be given several times",
       "NAME:PARTITIONS"},
      G_OPTION_ENTRY_NULL};
  CommandCommon common;
  if (!command_parse(&command_broker, &argc, &argv, entries, &common)) return COMMAND_USAGE;
  g_autoptr(GError) error = NULL;
  SourceMock *mock = NULL;
  gboolean good = FALSE;
  if (!options.mock)
    g_set_error(&error, DAEMON_ERROR, DAEMON_ERROR_SETTINGS, "write --mock: the built-in broker is for demo and tests");
  else if ((mock = source_mock_new(&error)) != NULL)
    good = serve(&options, &common, mock, &error);
  source_mock_free(mock);
  int status = good ? COMMAND_DONE : command_fail(&common, error);
  options_clear(&options);
  command_common_clear(&common);
  return status;
}

const Command command_broker = {
    .name = "broker",
    .arguments = "--mock [--topic NAME:PARTITIONS]... [--listen HOST:PORT] [--listen-file FILE]",
    .summary = "run the built-in Kafka broker for demo and tests",
    .help =
        "Prints the bootstrap address and serves until SIGTERM or SIGINT. The broker is librdkafka's mock cluster: one "
        "node, on loopback, without authentication. It keeps records in memory only, and of each partition the last 5 "
        "MB (or 100,000 batches): older ones are dropped silently, so whoever sends must not run far ahead of the "
        "checkpoints. Topics that nobody made are made with 4 partitions when first asked for. For durable events "
        "without Kafka use the file source (broker.source: file).",
    .run = run,
};
