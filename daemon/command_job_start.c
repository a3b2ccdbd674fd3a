/* `kedge job start`: a job of a kind that takes options, on a version, by hand. */
#include <stdio.h>
#include <string.h>

#include "daemon/command_data.h"
#include "daemon/command_store.h"
#include "daemon/report.h"
#include "pipeline/job_fields.h"
#include "pipeline/job_kinds.h"
#include "registry/model.h"
#include "registry/shard.h"

extern const Command command_job_start;

enum { ROWS = 6000, SPEC_LIMIT = 1 << 20 };

typedef struct {
  gchar **set, *spec;
  gint64 rows, seed;
  double holdout;
} Arguments;

static gboolean invalid(GError **error, const gchar *format, ...) G_GNUC_PRINTF(2, 3);
static gboolean invalid(GError **error, const gchar *format, ...)
{
  va_list arguments;
  va_start(arguments, format);
  g_autofree gchar *text = g_strdup_vprintf(format, arguments);
  va_end(arguments);
  g_set_error_literal(error, PIPELINE_ERROR, PIPELINE_ERROR_INVALID, text);
  return FALSE;
}

/* --- options -------------------------------------------------------------------------------------------------------
 */

static const PipelineJobKind *find_kind(const gchar *name, GError **error)
{
  const PipelineJobKind *kind = pipeline_job_kind_find(name);
  if (kind != NULL && kind->fields != NULL) return kind;
  g_autoptr(GString) known = g_string_new(NULL);
  for (guint i = 0; pipeline_job_kinds[i] != NULL; i++)
    if (pipeline_job_kinds[i]->fields != NULL)
      g_string_append_printf(known, "%s%s", known->len > 0 ? ", " : "", pipeline_job_kinds[i]->kind);
  invalid(error, "%s is no kind of job that is started by hand: write one of %s", name, known->str);
  return NULL;
}

/* The file's members into spec. */
static gboolean read_spec(const gchar *path, json_t *spec, GError **error)
{
  json_error_t fault;
  g_autoptr(GBytes) bytes = command_read_file(path, SPEC_LIMIT, error);
  if (bytes == NULL) return FALSE;
  gsize length;
  const gchar *text = g_bytes_get_data(bytes, &length);
  json_t *read = json_loadb(text, length, JSON_REJECT_DUPLICATES, &fault);
  if (!json_is_object(read)) {
    json_decref(read);
    return read != NULL ? invalid(error, "%s: not a JSON object of options", path)
                        : invalid(error, "%s:%d:%d: %s", path, fault.line, fault.column, fault.text);
  }
  json_object_update(spec, read);
  json_decref(read);
  return TRUE;
}

/* Options from --spec, then those from --set; checked by the kind. New; NULL: error. */
static json_t *read_options(const Arguments *a, const PipelineJobKind *kind, GError **error)
{
  json_t *options = json_object();
  gboolean good = a->spec == NULL || read_spec(a->spec, options, error);
  for (guint i = 0; good && a->set != NULL && a->set[i] != NULL; i++) {
    g_auto(GStrv) parts = g_strsplit(a->set[i], "=", 2);
    json_t *value = NULL;
    if (g_strv_length(parts) != 2)
      good = invalid(error, "--set %s: write NAME=VALUE", a->set[i]);
    else
      good = (value = pipeline_job_fields_parse(kind->fields, parts[0], parts[1], error)) != NULL;
    if (value != NULL) json_object_set_new(options, parts[0], value);
  }
  if (good && kind->check(options, error)) return options;
  if (good && a->spec != NULL) g_prefix_error(error, "%s: ", a->spec);
  json_decref(options);
  return NULL;
}

/* --- rows ----------------------------------------------------------------------------------------------------------
 */

static json_t *describe_range(gint64 partition, gint64 label_partition, gint64 first, gint64 next)
{
  return json_pack("{s:I, s:I, s:I, s:I}", "partition", (json_int_t)partition, "label_partition",
                   (json_int_t)label_partition, "first_row", (json_int_t)first, "next_row", (json_int_t)next);
}

/* The ranges of a version's data set without what reading found. */
static json_t *copy_ranges(const json_t *ranges)
{
  json_t *copy = json_array(), *range;
  size_t i;
  json_array_foreach ((json_t *)ranges, i, range)
    json_array_append_new(copy, describe_range(json_integer_value(json_object_get(range, "partition")),
                                               json_integer_value(json_object_get(range, "label_partition")),
                                               json_integer_value(json_object_get(range, "first_row")),
                                               json_integer_value(json_object_get(range, "next_row"))));
  return copy;
}

/* The newest rows of each labelled log of a shard. */
static gboolean add_newest(RegistryStore *store, const gchar *model, const RegistryShardStatus *shard, gint64 rows,
                           json_t *ranges, GError **error)
{
  json_t *consumed = shard->consumed != NULL ? json_loads(shard->consumed, 0, NULL) : NULL, *offset;
  const char *name;
  gboolean good = TRUE;
  json_object_foreach (json_object_get(consumed, "labels"), name, offset) {
    gint64 partition = g_ascii_strtoll(name, NULL, 10);
    gint64 next = registry_labelled_log_next(store, model, shard->partition, (gint32)partition, error);
    good = next >= 0;
    if (!good) break;
    if (next > 0) json_array_append_new(ranges, describe_range(shard->partition, partition, MAX(0, next - rows), next));
  }
  json_decref(consumed);
  return good;
}

static json_t *find_newest(RegistryStore *store, const gchar *model, gint64 rows, GError **error)
{
  g_autoptr(GPtrArray) shards = registry_shard_list(store, model, error);
  json_t *ranges = json_array();
  gboolean good = shards != NULL;
  for (guint i = 0; good && i < shards->len; i++)
    good = add_newest(store, model, g_ptr_array_index(shards, i), rows, ranges, error);
  if (good && json_array_size(ranges) > 0) return ranges;
  if (good)
    invalid(error, "the log of model %s has no labelled rows yet; `kedge %s` works on files", model,
            "train, harden, …");
  json_decref(ranges);
  return NULL;
}

/* "data" and "rehearsal" of the spec: what the version was trained on, or the newest rows. */
static gboolean add_rows(RegistryStore *store, const RegistryVersion *version, gint64 rows, json_t *spec,
                         GError **error)
{
  json_t *data_set = rows == 0 && version->data_set != NULL ? json_loads(version->data_set, 0, NULL) : NULL;
  if (json_array_size(json_object_get(data_set, "data")) > 0) {
    json_object_set_new(spec, "data", copy_ranges(json_object_get(data_set, "data")));
    json_object_set_new(spec, "rehearsal", copy_ranges(json_object_get(data_set, "rehearsal")));
    json_decref(data_set);
    return TRUE;
  }
  json_decref(data_set);
  json_t *newest = find_newest(store, version->model, rows > 0 ? rows : ROWS, error);
  return newest != NULL && json_object_set_new(spec, "data", newest) == 0;
}

/* --- the job -------------------------------------------------------------------------------------------------------
 */

/* The same job asked for again is the same job, until it has failed or was cancelled. New. */
static gchar *find_id(RegistryStore *store, const gchar *model, const gchar *kind, const gchar *spec)
{
  g_autofree gchar *digest = g_compute_checksum_for_string(G_CHECKSUM_SHA256, spec, -1);
  for (guint attempt = 1;; attempt++) {
    g_autofree gchar *again = attempt > 1 ? g_strdup_printf("-%u", attempt) : g_strdup("");
    g_autofree gchar *id = g_strdup_printf("%s/%s/by-hand-%.12s%s", model, kind, digest, again);
    g_autoptr(RegistryJob) known = registry_job_get(store, id, NULL);
    if (known == NULL || (!g_str_equal(known->state, "failed") && !g_str_equal(known->state, "cancelled")))
      return g_steal_pointer(&id);
  }
}

/* searches: the new version begins with no other. */
static json_t *make_spec(RegistryStore *store, const Arguments *a, const RegistryVersion *version, json_t *options,
                         gboolean searches, GError **error)
{
  g_autoptr(GError) none = NULL;
  gint64 champion = registry_alias_get(store, version->model, "champion", &none);
  json_t *spec = json_pack("{s:s, s:I, s:I, s:f, s:I}", "model", version->model, "from",
                           searches ? (json_int_t)0 : (json_int_t)version->version, "champion", (json_int_t)champion,
                           "holdout_fraction", a->holdout, "seed", (json_int_t)a->seed);
  json_object_update(spec, options);
  if (add_rows(store, version, a->rows, spec, error)) return spec;
  json_decref(spec);
  return NULL;
}

static json_t *start(const CommandCommon *common, const Arguments *a, const gchar *name, const gchar *reference,
                     GError **error)
{
  gint64 number = 0;
  g_autofree gchar *model = NULL;
  const PipelineJobKind *kind = find_kind(name, error);
  json_t *options = kind != NULL ? read_options(a, kind, error) : NULL, *spec = NULL, *report = NULL;
  if (options == NULL) return NULL;
  g_autoptr(RegistryStore) store = command_open_store(common, error);
  g_autoptr(RegistryVersion) version = NULL;
  if (store != NULL && registry_resolve(store, reference, &model, &number, error) &&
      (version = registry_version_get(store, model, number, error)) != NULL)
    spec = make_spec(store, a, version, options, g_str_equal(kind->kind, "search"), error);
  json_decref(options);
  if (spec == NULL) return NULL;
  char *text = json_dumps(spec, JSON_COMPACT);
  g_autofree gchar *id = find_id(store, model, kind->kind, text);
  RegistryJob job = {.id = id, .model = model, .kind = (gchar *)kind->kind, .priority = 5, .spec = text};
  if (registry_job_create(store, &job, error)) report = report_job(store, id, error);
  free(text);
  json_decref(spec);
  return report;
}

static void print_started(json_t *job)
{
  const gchar *id = json_string_value(json_object_get(job, "id"));
  printf("%s is %s; kedge job follow %s shows how it goes\n", id, json_string_value(json_object_get(job, "state")), id);
}

static int run_start(int argc, char **argv)
{
  Arguments a = {.seed = 1, .holdout = .2};
  const GOptionEntry entries[] = {
      {"set", 0, 0, G_OPTION_ARG_STRING_ARRAY, &a.set, "an option of the kind; several times", "NAME=VALUE"},
      {"spec", 0, 0, G_OPTION_ARG_FILENAME, &a.spec, "a JSON object of such options", "FILE.json"},
      {"rows", 0, 0, G_OPTION_ARG_INT64, &a.rows,
       "on the newest N labelled rows of each log (default: those that the version was trained on, else 6000)", "N"},
      {"holdout", 0, 0, G_OPTION_ARG_DOUBLE, &a.holdout, "share of the rows, the last ones, that only measures (0.2)",
       "F"},
      {"seed", 0, 0, G_OPTION_ARG_INT64, &a.seed, "of every random choice (1)", "S"},
      G_OPTION_ENTRY_NULL};
  CommandCommon common;
  int status = COMMAND_USAGE;
  if (command_parse(&command_job_start, &argc, &argv, entries, &common)) {
    if (argc != 3 || a.rows < 0 || a.seed < 0 || !(a.holdout >= .01 && a.holdout <= .9)) {
      status = command_usage(&common, "KIND and MODEL are needed; --rows and --seed are not negative, --holdout is a "
                                      "share from 0.01 to 0.9");
    } else {
      g_autoptr(GError) error = NULL;
      json_t *report = start(&common, &a, argv[1], argv[2], &error);
      status = command_report(&common, report, error, print_started);
    }
  }
  g_strfreev(a.set);
  g_free(a.spec);
  return status;
}

const Command command_job_start = {
    .name = "job start",
    .arguments = "KIND MODEL [--set NAME=VALUE]... [--spec FILE.json] [--rows N] [--holdout F] [--seed S]",
    .summary = "harden, compress, attack or search on a version, as a job",
    .help =
        "MODEL is NAME@ALIAS or NAME/VERSION. KIND and its options (--set, several times; --spec has them as JSON):\n"
        "harden    epsilon (needed), method (pgd, free, fast, trades), steps, epochs, batch_size, learning_rate, norm, "
        "unit,\n"
        "          range, step_size, replays, beta, patience, weight_decay, validation_fraction, checkpoint_seconds, "
        "backend\n"
        "compress  int8, prune, distill (one at least), structured, scope, by, fine_tune_epochs, activations, ranges,\n"
        "          percentile, calibration_rows, per_tensor, keep_float, epochs, temperature, label_share, "
        "batch_size,\n"
        "          learning_rate, backend\n"
        "attack    epsilon (needed), attacks (pgd,square), norm, unit, range, loss, steps, restarts, queries, rows, "
        "immutable,\n"
        "          integer, one_hot, mutable_categories, category_budget; the report becomes the version's tag "
        "\"robustness\"\n"
        "search    trials, seconds (one at least), workers, space, validation_fraction; a new version of MODEL's name\n"
        "They mean what `kedge harden`, `compress`, `attack` and `search` say. A worker (`kedge worker`) does the job; "
        "its\n"
        "version has MODEL as its parent (that of a search has none) and serves when it is promoted (`kedge promote`). "
        "The same job asked for "
        "again is\n"
        "the same job, unless it failed or was cancelled.\n"
        "\n"
        "--json prints the job as `kedge job show` does.",
    .run = run_start,
};
