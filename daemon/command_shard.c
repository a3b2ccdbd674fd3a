/* `kedge shard list` and `kedge shard reset`. */
#include <stdio.h>
#include <string.h>

#include "daemon/command_store.h"
#include "daemon/shard.h"
#include "daemon/shard_reset.h"
#include "registry/shard.h"

extern const Command command_shard_list, command_shard_reset;

/* --- list
 * -------------------------------------------------------------------------------------------------------------- */

static json_t *shard_to_json(const RegistryShardStatus *status)
{
  json_t *consumed = status->consumed == NULL ? NULL : json_loads(status->consumed, 0, NULL);
  json_t *watermark = status->watermark == SHARD_TIME_NONE ? json_null() : json_integer((json_int_t)status->watermark);
  return json_pack("{s:i, s:I, s:I, s:o, s:b, s:s?, s:o}", "partition", (int)status->partition, "epoch",
                   (json_int_t)status->epoch, "next_offset", (json_int_t)status->next_offset, "watermark", watermark,
                   "idle", (int)status->idle, "owner", status->owner, "consumed",
                   consumed == NULL ? json_null() : consumed);
}

static json_t *list_shards(const CommandCommon *common, const gchar *model, GError **error)
{
  g_autoptr(RegistryStore) store = command_open_store(common, error);
  g_autoptr(GPtrArray) shards = store == NULL ? NULL : registry_shard_list(store, model, error);
  if (shards == NULL) return NULL;
  json_t *list = json_array();
  for (guint i = 0; i < shards->len; i++) json_array_append_new(list, shard_to_json(shards->pdata[i]));
  return list;
}

static void print_shards(json_t *list)
{
  static const gchar *const headers[] = {">PARTITION", ">NEXT OFFSET", "IDLE", ">EPOCH", "OWNER", NULL};
  gsize i;
  json_t *shard;
  if (json_array_size(list) == 0) {
    puts("no partition of this model has been read yet");
    return;
  }
  CommandTable *table = command_table_new(headers);
  json_array_foreach (list, i, shard) {
    g_autofree gchar *partition = command_text_count(json_object_get(shard, "partition"));
    g_autofree gchar *next = command_text_count(json_object_get(shard, "next_offset"));
    g_autofree gchar *idle = command_text(json_object_get(shard, "idle"));
    g_autofree gchar *epoch = command_text_count(json_object_get(shard, "epoch"));
    g_autofree gchar *owner = command_text(json_object_get(shard, "owner"));
    command_table_add(table, partition, next, idle, epoch, owner, NULL);
  }
  command_table_print(table);
}

static int run_list(int argc, char **argv)
{
  CommandCommon common;
  if (!command_parse(&command_shard_list, &argc, &argv, NULL, &common)) return COMMAND_USAGE;
  if (argc != 2) return command_usage(&common, "MODEL is needed");
  g_autoptr(GError) error = NULL;
  json_t *list = list_shards(&common, argv[1], &error);
  return command_report(&common, list, error, print_shards);
}

const Command command_shard_list = {
    .name = "shard list",
    .arguments = "MODEL",
    .summary = "show how far each traffic partition of a model is read, and by whom",
    .help = "--json prints [{\"partition\", \"epoch\", \"next_offset\", \"watermark\", \"idle\", \"owner\", "
            "\"consumed\"}].",
    .run = run_list,
};

/* --- reset
 * ------------------------------------------------------------------------------------------------------------- */

/* "earliest", "latest", "keep", or an offset where `offsets`. */
static gboolean parse_place(const gchar *text, gboolean offsets, gint64 *place)
{
  static const struct {
    const gchar *name;
    gint64 place;
  } names[] = {{"earliest", SOURCE_EARLIEST}, {"latest", SOURCE_LATEST}, {"keep", SHARD_KEEP}};
  for (guint i = 0; i < G_N_ELEMENTS(names); i++)
    if (strcmp(text, names[i].name) == 0) {
      *place = names[i].place;
      return TRUE;
    }
  return offsets && g_ascii_string_to_signed(text, 10, 0, G_MAXINT64, place, NULL);
}

static json_t *reset_shard(const CommandCommon *common, const gchar *model, gint32 partition, gint64 traffic,
                           gint64 labels, GError **error)
{
  g_autofree gchar *actor = command_get_actor();
  g_autoptr(RegistryStore) store = command_open_store(common, error);
  if (store == NULL || !shard_reset_stored(store, model, partition, traffic, labels, actor, error)) return NULL;
  return json_pack("{s:s, s:i}", "model", model, "partition", (int)partition);
}

static void print_reset(json_t *report)
{
  printf("partition %" JSON_INTEGER_FORMAT " of model %s is reset; a running kedged takes it up again within seconds\n",
         json_integer_value(json_object_get(report, "partition")), json_string_value(json_object_get(report, "model")));
}

typedef struct {
  gchar *to, *labels;
  gint64 partition, traffic_place, label_place;
} ResetOptions;

/* Labels follow the traffic to earliest or latest unless told otherwise: a lost broker has lost both. */
static gboolean check_options(ResetOptions *options, int argc, char **argv)
{
  options->label_place = SHARD_KEEP;
  if (argc != 3 || options->to == NULL || !parse_place(options->to, TRUE, &options->traffic_place)) return FALSE;
  if (!g_ascii_string_to_signed(argv[2], 10, 0, 1000000, &options->partition, NULL)) return FALSE;
  if (options->labels != NULL) return parse_place(options->labels, FALSE, &options->label_place);
  if (options->traffic_place < 0) options->label_place = options->traffic_place;
  return TRUE;
}

static int run_reset(int argc, char **argv)
{
  ResetOptions options = {0};
  const GOptionEntry entries[] = {
      {"to", 0, 0, G_OPTION_ARG_STRING, &options.to, "where the traffic begins anew", "earliest|latest|keep|OFFSET"},
      {"labels", 0, 0, G_OPTION_ARG_STRING, &options.labels, "where the labels begin anew", "earliest|latest|keep"},
      G_OPTION_ENTRY_NULL};
  CommandCommon common;
  if (!command_parse(&command_shard_reset, &argc, &argv, entries, &common)) return COMMAND_USAGE;
  int status;
  if (!check_options(&options, argc, argv)) {
    status = command_usage(&common, "MODEL, PARTITION and --to earliest|latest|keep|OFFSET are needed");
  } else {
    g_autoptr(GError) error = NULL;
    json_t *report =
        reset_shard(&common, argv[1], (gint32)options.partition, options.traffic_place, options.label_place, &error);
    status = command_report(&common, report, error, print_reset);
  }
  g_free(options.to);
  g_free(options.labels);
  return status;
}

const Command command_shard_reset = {
    .name = "shard reset",
    .arguments = "MODEL PARTITION --to earliest|latest|keep|OFFSET [--labels earliest|latest|keep]",
    .summary = "begin a traffic partition anew after an ingest incident",
    .help =
        "When a topic was recreated, or records were deleted before they were read, kedged stops the partition and "
        "opens an incident rather than skip anything unseen. This says where it goes on. Panes, labelled rows and "
        "their numbers go on; the incident closes when the partition reads again. Records that are read a second time "
        "are counted a second time, except those older than the watermark by more than late_ms.\n"
        "\n"
        "Labels follow the traffic to earliest or latest unless --labels says otherwise; with an OFFSET they are "
        "kept. The reset is written to the audit.",
    .run = run_reset,
};
