/* First inputs for the fuzzers of binary states: `seeds FOLDER` writes FOLDER/{detector,state,sketch}/…, each a state
 * that kedge itself made. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "drift/bytes_internal.h"
#include "drift/detector.h"
#include "drift/fairness_audit.h"
#include "drift/frequent.h"
#include "drift/hyperloglog.h"
#include "drift/kll.h"
#include "drift/window.h"
#include "tests/fuzz/state_world.h"

static const gchar *folder;

static void write_seed(const gchar *fuzzer, const gchar *name, const guint8 *head, gsize head_length,
                       const guint8 *rest, gsize length)
{
  g_autoptr(GByteArray) bytes = g_byte_array_new();
  g_byte_array_append(bytes, head, (guint)head_length);
  if (length > 0) g_byte_array_append(bytes, rest, (guint)length);
  g_autofree gchar *directory = g_build_filename(folder, fuzzer, NULL);
  g_autofree gchar *path = g_build_filename(directory, name, NULL);
  g_autoptr(GError) error = NULL;
  g_mkdir_with_parents(directory, 0755);
  if (!g_file_set_contents(path, (const gchar *)bytes->data, (gssize)bytes->len, &error)) g_error("%s", error->message);
}

static GBytes *contents(const gchar *magic, GBytes *frame)
{
  g_autoptr(GError) error = NULL;
  GBytes *raw = drift_frame_unpack(magic, 1, G_MAXUINT32, "seed", frame, &error);
  g_assert_no_error(error);
  return raw;
}

/* A state of each type after no, a few and many values. */
static void write_detectors(void)
{
  static const guint counts[] = {0, 50, 700};
  for (guint type = 0; drift_detector_types[type] != NULL; type++) {
    for (guint c = 0; c < G_N_ELEMENTS(counts); c++) {
      g_autoptr(DriftDetector) detector = drift_detector_new(drift_detector_types[type]->name, NULL, NULL);
      for (guint i = 0; i < counts[c]; i++) drift_detector_update(detector, (i * 7 % 11 < 3) + (i > 400 && i % 2));
      g_autoptr(GBytes) frame = drift_detector_to_bytes(detector), raw = contents("KDDT", frame);
      gsize length;
      const guint8 *data = g_bytes_get_data(raw, &length);
      gsize name = 4 + strlen(detector->type->name); /* the fuzzer writes it */
      const guint8 head[] = {60, 0, (guint8)type};
      g_autofree gchar *file = g_strdup_printf("%s-%u", detector->type->name, counts[c]);
      write_seed("detector", file, head, sizeof head, data + name, length - name);
    }
  }
}

static void write_frame(const gchar *fuzzer, const gchar *name, const gchar *magic, guint8 kind, GBytes *frame)
{
  g_autoptr(GBytes) raw = contents(magic, frame);
  gsize length;
  const guint8 *data = g_bytes_get_data(raw, &length);
  write_seed(fuzzer, name, &kind, 1, data, length);
}

static void write_states(void)
{
  g_autoptr(DriftGrid) grid = state_world_grid();
  g_autoptr(DriftAccumulator) accumulator = drift_accumulator_new(grid);
  g_autoptr(GByteArray) rows = g_byte_array_new();
  DriftLabelRow label_rows[40];
  for (guint i = 0; i < G_N_ELEMENTS(label_rows); i++) {
    DriftValue features[2];
    DriftLabelledRow row = {
        .traffic_offset = i, .label_offset = i, .label_time = i, .label = drift_value_number(i % 2)};
    state_world_event(i, features, &row.event);
    drift_accumulator_add(accumulator, &row.event);
    drift_label_row_from(grid, &row, &label_rows[i]);
    if (i < 5) drift_labelled_row_append(rows, &row, 2);
  }
  g_autoptr(GBytes) grid_bytes = drift_grid_to_bytes(grid), bytes = drift_accumulator_to_bytes(accumulator),
                    label_bytes = drift_label_rows_to_bytes(label_rows, G_N_ELEMENTS(label_rows));
  const guint8 plain = 5;
  write_frame("state", "grid", "KDGR", 0, grid_bytes);
  write_frame("state", "accumulator", "KDAC", 1, bytes);
  write_frame("state", "label-rows", "KDLR", 2, label_bytes);
  g_autoptr(DriftTable) reference = state_world_table(200);
  g_autoptr(DriftAccumulator) profile = drift_accumulator_from_table(grid, reference, NULL);
  g_autoptr(DriftBaseline) baseline = drift_baseline_new(profile, reference, NULL);
  g_autoptr(GBytes) both = drift_reference_to_bytes(profile, baseline), swings = drift_baseline_to_bytes(baseline);
  write_frame("state", "reference", "KDRF", 3, both);
  write_frame("state", "baseline", "KDBL", 4, swings);
  write_seed("state", "rows", &plain, 1, rows->data, rows->len);
}

static void write_sketches(void)
{
  g_autoptr(DriftKll) kll = drift_kll_new(16, 1, NULL);
  g_autoptr(DriftHyperLogLog) distinct = drift_hyperloglog_new(4, NULL);
  g_autoptr(DriftFrequent) frequent = drift_frequent_new(8, NULL);
  for (guint i = 0; i < 500; i++) {
    g_autofree gchar *text = g_strdup_printf("%u", i * i % 23);
    drift_kll_update(kll, sin(i));
    drift_hyperloglog_update_number(distinct, i);
    drift_frequent_update(frequent, text, strlen(text), 1);
  }
  g_autoptr(GBytes) kll_bytes = drift_kll_to_bytes(kll), distinct_bytes = drift_hyperloglog_to_bytes(distinct),
                    frequent_bytes = drift_frequent_to_bytes(frequent);
  write_frame("sketch", "kll", "KKLL", 0, kll_bytes);
  write_frame("sketch", "hyperloglog", "KHLL", 1, distinct_bytes);
  write_frame("sketch", "frequent", "KFRQ", 2, frequent_bytes);
}

int main(int argc, char **argv)
{
  if (argc != 2) return EXIT_FAILURE;
  folder = argv[1];
  write_detectors();
  write_states();
  write_sketches();
  return EXIT_SUCCESS;
}
