/* `kedge wait`. */
#include <stdio.h>

#include "daemon/command_store.h"
#include "daemon/wait.h"

extern const Command command_wait;

typedef struct {
  gchar *model, *traffic, *labels;
  double timeout_s;
  gint poll_ms;
} Options;

static json_t *wait_until(const CommandCommon *common, const Options *options, GError **error)
{
  g_autoptr(GArray) traffic = wait_parse_offsets(options->traffic != NULL ? options->traffic : "", error);
  if (traffic == NULL) return NULL;
  g_autoptr(GArray) labels = wait_parse_offsets(options->labels != NULL ? options->labels : "", error);
  if (labels == NULL) return NULL;
  g_autoptr(RegistryStore) store = command_open_store(common, error);
  if (store == NULL) return NULL;
  WaitTarget target = {.model = options->model,
                       .traffic = (const WaitOffset *)(void *)traffic->data,
                       .n_traffic = traffic->len,
                       .labels = (const WaitOffset *)(void *)labels->data,
                       .n_labels = labels->len};
  gint64 start = g_get_monotonic_time();
  gint64 timeout_us = options->timeout_s < 0 ? -1 : (gint64)(options->timeout_s * G_USEC_PER_SEC);
  if (!wait_for(store, &target, timeout_us, (guint)options->poll_ms, error)) return NULL;
  return json_pack("{s:s, s:f}", "model", options->model, "seconds",
                   (double)(g_get_monotonic_time() - start) / G_USEC_PER_SEC);
}

static void print_nothing(json_t *out)
{
  (void)out;
}

static int run_wait(int argc, char **argv)
{
  Options options = {.timeout_s = 60, .poll_ms = 20};
  const GOptionEntry entries[] = {
      {"model", 0, 0, G_OPTION_ARG_STRING, &options.model, "the model", "NAME"},
      {"traffic", 0, 0, G_OPTION_ARG_STRING, &options.traffic, "traffic offsets, PARTITION:NEXT[,…]", "OFFSETS"},
      {"labels", 0, 0, G_OPTION_ARG_STRING, &options.labels, "label offsets, PARTITION:NEXT[,…]", "OFFSETS"},
      {"timeout", 0, 0, G_OPTION_ARG_DOUBLE, &options.timeout_s, "seconds to wait (60; negative: for ever)", "S"},
      {"poll-ms", 0, 0, G_OPTION_ARG_INT, &options.poll_ms, "milliseconds between looks (20; at least 2)", "MS"},
      G_OPTION_ENTRY_NULL};
  CommandCommon common;
  if (!command_parse(&command_wait, &argc, &argv, entries, &common)) return COMMAND_USAGE;
  int status;
  if (argc != 1 || options.model == NULL)
    status = command_usage(&common, "--model NAME is needed, and no argument");
  else if (options.poll_ms < 2)
    status = command_usage(&common, "--poll-ms %d is below 2", options.poll_ms);
  else {
    g_autoptr(GError) error = NULL;
    json_t *out = wait_until(&common, &options, &error);
    status = command_report(&common, out, error, print_nothing);
  }
  g_free(options.model);
  g_free(options.traffic);
  g_free(options.labels);
  return status;
}

const Command command_wait = {
    .name = "wait",
    .arguments = "--model NAME --traffic OFFSETS --labels OFFSETS [--timeout S] [--poll-ms MS]",
    .summary = "wait until records are consumed, decided, and their jobs and rollouts done",
    .help =
        "OFFSETS is PARTITION:NEXT[,PARTITION:NEXT]…, NEXT the first offset that need not have been consumed. Returns "
        "when the store shows them checkpointed, the windows decided, no job of the model open and no rollout of it "
        "due. On time-out the exit status is 1 and the message says what is missing.\n"
        "\n"
        "--json prints {\"model\", \"seconds\"}.",
    .run = run_wait,
};
