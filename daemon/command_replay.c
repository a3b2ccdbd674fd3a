/* `kedge replay`. */
#include <stdio.h>

#include "daemon/command_store.h"
#include "daemon/replay.h"

extern const Command command_replay;

static json_t *result_to_json(const ReplayResult *r)
{
  return json_pack("{s:s, s:s, s:b, s:s?, s:i, s:i, s:i, s:s?}", "verdict", r->verdict, "kind", r->kind, "identical",
                   r->identical, "difference", r->difference, "panes", (int)r->n_panes, "panes_compared_with_events",
                   (int)r->panes_compared, "panes_identical_with_events", (int)r->panes_identical, "events_missing",
                   r->events);
}

static void print_result(const ReplayResult *r)
{
  printf("%s: %s, recomputed from %u %s\n", r->verdict, r->identical ? "identical" : "different", r->n_panes,
         r->n_panes == 1 ? "pane" : "panes");
  if (r->difference) printf("  %s\n", r->difference);
  if (r->panes_compared)
    printf("  from the events: %u of %u panes counted again, %u identical\n", r->panes_compared, r->n_panes,
           r->panes_identical);
  if (r->events) printf("  events not compared: %s\n", r->events);
}

static int run_replay(int argc, char **argv)
{
  gboolean panes_only = FALSE;
  const GOptionEntry entries[] = {
      {"panes-only", 0, 0, G_OPTION_ARG_NONE, &panes_only, "do not read the events again", NULL}, G_OPTION_ENTRY_NULL};
  CommandCommon common;
  if (!command_parse(&command_replay, &argc, &argv, entries, &common)) return COMMAND_USAGE;
  int status = COMMAND_FAILED;
  g_autoptr(GError) error = NULL;
  g_autoptr(Settings) settings = NULL;
  g_autoptr(RegistryStore) store = NULL;
  g_autoptr(RegistryArtifacts) artifacts = NULL;
  ReplayResult result = {0};
  if (argc != 2) {
    status = command_usage(&common, "one INCIDENT (or verdict id) is needed");
  } else if ((!panes_only && !(settings = command_load_settings(&common, &error))) ||
             !(store = command_open_store(&common, &error)) || !(artifacts = command_open_artifacts(&common, &error)) ||
             !replay(store, artifacts, settings, argv[1], &result, &error)) {
    status = command_fail(&common, error);
  } else {
    if (common.json)
      command_print_json(result_to_json(&result));
    else
      print_result(&result);
    status = result.identical && result.panes_identical == result.panes_compared ? COMMAND_DONE : COMMAND_NO;
    replay_result_clear(&result);
  }
  command_common_clear(&common);
  return status;
}

const Command command_replay = {
    .name = "replay",
    .arguments = "INCIDENT [--panes-only]",
    .summary = "recompute a verdict from its panes, and the panes from the events that are still there",
    .help = "INCIDENT is an incident's id (its opening verdict is recomputed) or a verdict's id. Says \"identical\" or "
            "what "
            "differs; exit status 3 when anything differs.\n"
            "\n"
            "--json prints {\"verdict\", \"kind\", \"identical\", \"difference\", \"panes\", "
            "\"panes_compared_with_events\", \"panes_identical_with_events\", \"events_missing\"}.",
    .run = run_replay,
};
