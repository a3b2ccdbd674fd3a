#include "tests/support/job_worlds.h"

#include <check.h>
#include <string.h>

#include "drift/accumulator.h"
#include "pipeline/data_range.h"
#include "pipeline/job_kinds.h"
#include "pipeline/trainer.h"
#include "registry/model.h"

DriftTable *job_worlds_read(JobFixture *fixture, gint64 first, gint64 next)
{
  json_t *spec = json_pack("{s:[{s:i, s:i, s:I, s:I}]}", "data", "partition", 0, "label_partition", 0, "first_row",
                           (json_int_t)first, "next_row", (json_int_t)next);
  g_autoptr(GArray) ranges = pipeline_data_ranges_parse(spec, "data", NULL);
  json_decref(spec);
  g_autoptr(PipelineDataSet) set = pipeline_data_set_new(fixture->schema);
  g_autoptr(GError) error = NULL;
  gboolean read =
      pipeline_data_ranges_read(fixture->store, fixture->artifacts, "loan", fixture->schema, ranges, set, &error);
  ck_assert_msg(read, "%s", error != NULL ? error->message : "");
  return g_steal_pointer(&set->table);
}

/* Version 1: trained on 200 rows of the world as it was, with the grid of those rows. */
void job_worlds_register_first(JobFixture *fixture, const gchar *architecture)
{
  g_autoptr(GError) error = NULL;
  g_autoptr(DriftTable) table = job_worlds_read(fixture, 0, 200);
  PipelineTrainOptions options;
  pipeline_train_options_init(&options);
  options.architecture = architecture;
  options.epochs = 30;
  options.learning_rate = .02;
  PipelineTrainResult trained = {0};
  gboolean done = pipeline_train(table, fixture->schema, &options, NULL, NULL, &trained, &error);
  ck_assert_msg(done, "%s", error != NULL ? error->message : "");
  g_autoptr(DriftGrid) grid = drift_grid_new(fixture->schema, table, 0, &error);
  ck_assert_msg(grid != NULL, "%s", error != NULL ? error->message : "");
  g_autoptr(GBytes) grid_bytes = drift_grid_to_bytes(grid);
  g_autofree gchar *onnx_digest = registry_artifacts_put(fixture->artifacts, trained.onnx, &error);
  g_autofree gchar *grid_digest = registry_artifacts_put(fixture->artifacts, grid_bytes, &error);
  RegistryVersion version = {
      .model = (gchar *)"loan", .onnx_digest = onnx_digest, .grid_digest = grid_digest, .kind = (gchar *)"imported"};
  ck_assert_int_eq(registry_version_create(fixture->store, &version, "test", &error), 1);
  pipeline_train_result_clear(&trained);
}

/* The log holds 200 rows of the first world, then n of the second one. */
JobFixture *job_worlds_open_of(int index, gint64 n, const gchar *architecture)
{
  JobFixture *fixture = job_fixture_open(index);
  const JobRows rows = {.n_rows = 200 + n, .flipped_from = 200};
  job_fixture_append(fixture, &rows);
  job_worlds_register_first(fixture, architecture);
  return fixture;
}

JobFixture *job_worlds_open(int index, gint64 n)
{
  return job_worlds_open_of(index, n, "mlp:8");
}

/* Claims and executes; the job as it is then. */
RegistryJob *job_worlds_execute(JobFixture *fixture, const gchar *id, const gchar *kind, const gchar *spec)
{
  g_autoptr(RegistryJob) job = job_fixture_job(fixture, id, kind, spec, TRUE);
  PipelineJobContext context = {.store = fixture->store, .artifacts = fixture->artifacts, .job = job};
  g_autoptr(GError) error = NULL;
  gboolean done = pipeline_job_execute(&context, &error);
  ck_assert_msg(done, "%s", error != NULL ? error->message : "");
  return registry_job_get(fixture->store, id, NULL);
}

json_t *job_worlds_result(const RegistryJob *job)
{
  ck_assert_msg(strcmp(job->state, "done") == 0, "%s: %s", job->state, job->error != NULL ? job->error : "");
  json_t *result = json_loads(job->result, JSON_REJECT_DUPLICATES, NULL);
  ck_assert_ptr_nonnull(result);
  return result;
}
