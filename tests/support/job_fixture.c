#include "tests/support/job_fixture.h"

#include <check.h>
#include <string.h>

#include "drift/row.h"
#include "pipeline/model_spec.h"
#include "registry/model.h"
#include "registry/shard.h"

JobFixture *job_fixture_open(int index)
{
  g_autoptr(GError) error = NULL;
  JobFixture *fixture = g_new0(JobFixture, 1);
  fixture->test = test_store_open(index);
  fixture->store = fixture->test->store;
  fixture->artifacts_directory = g_build_filename(fixture->test->directory, "artifacts", NULL);
  fixture->artifacts = registry_artifacts_open(fixture->artifacts_directory, &error);
  ck_assert_msg(fixture->artifacts != NULL, "%s", error != NULL ? error->message : "");
  fixture->schema = drift_schema_new(DRIFT_TASK_BINARY, "repaid");
  drift_schema_add_feature(fixture->schema, "x0", DRIFT_NUMERIC, FALSE, TRUE);
  drift_schema_add_feature(fixture->schema, "x1", DRIFT_NUMERIC, FALSE, TRUE);
  drift_schema_add_feature(fixture->schema, "region", DRIFT_CATEGORICAL, TRUE, TRUE);
  drift_schema_add_class(fixture->schema, "no");
  drift_schema_add_class(fixture->schema, "yes");
  fixture->schema->positive_class = 1;
  g_autofree gchar *spec = pipeline_model_spec_format(fixture->schema);
  ck_assert(registry_model_create(fixture->store, "loan", spec, "test", &error));
  return fixture;
}

void job_fixture_close(JobFixture *fixture)
{
  drift_schema_free(fixture->schema);
  registry_artifacts_close(fixture->artifacts);
  test_store_close(fixture->test);
  g_free(fixture->artifacts_directory);
  g_free(fixture);
}

/* In (-1, 1); splitmix64 of the row and the feature. */
static double value_of(gint64 number, guint feature)
{
  guint64 z = ((guint64)number * 2 + feature + 1) * G_GUINT64_CONSTANT(0x9e3779b97f4a7c15);
  z = (z ^ (z >> 30)) * G_GUINT64_CONSTANT(0xbf58476d1ce4e5b9);
  z = (z ^ (z >> 27)) * G_GUINT64_CONSTANT(0x94d049bb133111eb);
  return (double)((z ^ (z >> 31)) >> 11) / (double)(G_GUINT64_CONSTANT(1) << 52) - 1;
}

static void append_row(GByteArray *out, const JobRows *rows, gint64 number)
{
  static const gchar *const regions[] = {"north", "south", "west"};
  double x0 = value_of(number, 0), x1 = value_of(number, 1);
  gboolean flipped = rows->flipped_from > 0 && number >= rows->flipped_from;
  gboolean one_class = rows->one_class_from > 0 && number >= rows->one_class_from;
  gboolean yes = one_class || ((x0 + x1 > 0) != flipped);
  gboolean unknown = rows->unknown_each > 0 && number % rows->unknown_each == 0;
  const DriftValue features[] = {drift_value_number(x0), drift_value_number(x1),
                                 drift_value_text(regions[number % 3], -1)};
  g_autofree gchar *id = g_strdup_printf("r%" G_GINT64_FORMAT, number);
  DriftLabelledRow row = {.event = {.request_id = drift_value_text(id, -1),
                                    .event_time = 1000000 * number,
                                    .version = 1,
                                    .prediction = drift_value_text("no", -1),
                                    .score = .5,
                                    .latency_ms = 1,
                                    .features = features},
                          .traffic_offset = number,
                          .label_offset = 10000 + number,
                          .label_time = 1000000 * number + 5,
                          .label = drift_value_text(unknown ? "perhaps"
                                                    : yes   ? "yes"
                                                            : "no",
                                                    -1)};
  drift_labelled_row_append(out, &row, 3);
}

GBytes *job_fixture_bytes(JobFixture *fixture, const JobRows *rows, gint64 first, gint64 next)
{
  (void)fixture;
  GByteArray *out = g_byte_array_new();
  for (gint64 number = first; number < next; number++) append_row(out, rows, number);
  return g_byte_array_free_to_bytes(out);
}

void job_fixture_append(JobFixture *fixture, const JobRows *rows)
{
  g_autoptr(GError) error = NULL;
  g_autoptr(RegistryShard) shard = registry_shard_acquire(fixture->store, "loan", 0, "test", &error);
  ck_assert_msg(shard != NULL, "%s", error != NULL ? error->message : "");
  GByteArray *out = g_byte_array_new();
  g_autofree guint32 *ends = g_new(guint32, (gsize)rows->n_rows);
  for (gint64 number = 0; number < rows->n_rows; number++) {
    append_row(out, rows, number);
    ends[number] = out->len;
  }
  g_autoptr(GBytes) bytes = g_byte_array_free_to_bytes(out), state = g_bytes_new_static("s", 1);
  RegistryLabelledRows appended = {.n_rows = (guint)rows->n_rows, .bytes = bytes, .ends = ends};
  g_autoptr(GPtrArray) list = g_ptr_array_new();
  g_ptr_array_add(list, &appended);
  const RegistryCheckpoint checkpoint = {.model = "loan",
                                         .epoch = shard->epoch,
                                         .base_offset = -1,
                                         .next_offset = rows->n_rows,
                                         .state = state,
                                         .labelled_rows = list};
  gboolean stored = registry_shard_checkpoint(fixture->store, &checkpoint, &error);
  ck_assert_msg(stored, "%s", error != NULL ? error->message : "");
}

RegistryJob *job_fixture_job(JobFixture *fixture, const gchar *id, const gchar *kind, const gchar *spec, gboolean claim)
{
  g_autoptr(GError) error = NULL;
  const RegistryJob job = {
      .id = (gchar *)id, .model = (gchar *)"loan", .kind = (gchar *)kind, .spec = (gchar *)spec, .maximum_attempts = 3};
  ck_assert_msg(registry_job_create(fixture->store, &job, &error), "%s", error != NULL ? error->message : "");
  if (!claim) return NULL;
  RegistryJob *claimed = registry_job_claim(fixture->store, "w", NULL, &error);
  ck_assert_msg(claimed != NULL, "%s", error != NULL ? error->message : "no job");
  ck_assert_str_eq(claimed->id, id);
  return claimed;
}
