/* libFuzzer over the readers of grids, accumulators, label rows and labelled rows: `make fuzz-state`. The first byte
 * chooses the reader; with its highest bit set the rest is a whole frame, else the contents of one with a right digest.
 */
#include <string.h>

#include "drift/bytes_internal.h"
#include "drift/window.h"
#include "tests/fuzz/state_world.h"

int LLVMFuzzerTestOneInput(const guint8 *data, size_t size);

static DriftGrid *known_grid;

static void add_events(DriftAccumulator *accumulator, guint n)
{
  for (guint i = 0; i < n; i++) {
    DriftValue features[2];
    DriftEvent event;
    state_world_event(i, features, &event);
    drift_accumulator_add(accumulator, &event);
  }
}

static void use_accumulator(GBytes *bytes, gboolean framed_here)
{
  g_autoptr(GError) error = NULL;
  g_autoptr(DriftAccumulator) read = drift_accumulator_from_bytes(known_grid, bytes, &error);
  g_assert((read == NULL) == (error != NULL));
  if (read == NULL) return;
  g_autoptr(GBytes) again = drift_accumulator_to_bytes(read);
  g_assert(!framed_here || g_bytes_equal(again, bytes)); /* one spelling of each state */
  g_autoptr(DriftAccumulator) other = drift_accumulator_new(known_grid), sum = drift_accumulator_new(known_grid);
  add_events(other, 50);
  gboolean fits = drift_accumulator_merge(sum, read, NULL) && drift_accumulator_merge(sum, other, NULL);
  g_assert(fits == drift_accumulator_merge(read, other, NULL));
  if (!fits) return;
  g_autoptr(GBytes) left = drift_accumulator_to_bytes(sum), right = drift_accumulator_to_bytes(read);
  g_assert(g_bytes_equal(left, right));
  for (guint quantity = 0; quantity < 5; quantity++) {
    DriftSummary summary;
    drift_accumulator_summarise(read, quantity, &summary);
  }
}

static void use_grid(GBytes *bytes, gboolean framed_here)
{
  g_autoptr(GError) error = NULL;
  g_autoptr(DriftGrid) grid = drift_grid_from_bytes(bytes, &error);
  g_assert((grid == NULL) == (error != NULL));
  if (grid == NULL) return;
  g_autoptr(GBytes) again = drift_grid_to_bytes(grid);
  g_assert(!framed_here || g_bytes_equal(again, bytes));
  guint n = drift_schema_n_features(drift_grid_get_schema(grid));
  g_autofree DriftValue *features = g_new0(DriftValue, n + 1);
  g_autoptr(DriftAccumulator) user = drift_accumulator_new(grid);
  for (guint i = 0; i < 20; i++) {
    DriftValue two[2];
    DriftEvent event;
    state_world_event(i, two, &event);
    for (guint k = 0; k < n; k++) features[k] = two[(i + k) % 2];
    event.features = features;
    drift_accumulator_add(user, &event);
  }
  g_autoptr(GBytes) state = drift_accumulator_to_bytes(user);
  g_autoptr(DriftAccumulator) restored = drift_accumulator_from_bytes(grid, state, &error);
  g_assert_no_error(error);
  g_assert(restored != NULL);
}

static void use_label_rows(GBytes *bytes, gboolean framed_here)
{
  (void)framed_here;
  g_autoptr(GError) error = NULL;
  g_autoptr(GArray) rows = drift_label_rows_from_bytes(bytes, &error);
  g_assert((rows == NULL) == (error != NULL));
  if (rows == NULL) return;
  const DriftLabelRow *values = (const DriftLabelRow *)(gpointer)rows->data;
  g_autoptr(GBytes) again = drift_label_rows_to_bytes(values, rows->len);
  g_autoptr(GArray) reread = drift_label_rows_from_bytes(again, &error); /* any NaN becomes the one NaN */
  g_assert_no_error(error);
  g_autoptr(GBytes) same = drift_label_rows_to_bytes((const DriftLabelRow *)(gpointer)reread->data, reread->len);
  g_assert(g_bytes_equal(again, same));
  for (guint i = 0; i < rows->len; i++) drift_label_row_error(drift_grid_get_schema(known_grid), &values[i]);
}

/* The row format has no frame: the same bytes are what is written again. */
static void use_rows(const guint8 *data, gsize size)
{
  DriftValue features[64];
  while (size > 0) {
    DriftLabelledRow row;
    guint n_features;
    g_autoptr(GError) error = NULL;
    gsize used = drift_labelled_row_parse(data, size, &row, features, G_N_ELEMENTS(features), &n_features, &error);
    g_assert((used == 0) == (error != NULL) && used <= size);
    if (used == 0) return;
    DriftLabelRow label_row;
    if (n_features == 2) drift_label_row_from(known_grid, &row, &label_row);
    g_autoptr(GByteArray) again = g_byte_array_new();
    drift_labelled_row_append(again, &row, n_features);
    g_assert(again->len == used);
    data += used;
    size -= used;
  }
}

/* A profile with its baseline: what is read is written the same, and a verdict can be made with it. */
static void use_reference(GBytes *bytes, gboolean framed_here)
{
  (void)framed_here;
  g_autoptr(GError) error = NULL;
  g_autoptr(DriftBaseline) baseline = NULL;
  g_autoptr(DriftAccumulator) profile = drift_reference_from_bytes(known_grid, bytes, &baseline, &error);
  g_assert((profile == NULL) == (error != NULL));
  if (profile == NULL) return;
  g_autoptr(GBytes) again = drift_reference_to_bytes(profile, baseline);
  g_autoptr(DriftBaseline) reread = NULL;
  g_autoptr(DriftAccumulator) same = drift_reference_from_bytes(known_grid, again, &reread, &error);
  g_assert(same != NULL);
  DriftWindowSettings settings;
  drift_window_settings_init(&settings);
  g_autoptr(DriftWindowVerdict) verdict =
      drift_window_evaluate_with(profile, baseline, profile, NULL, 0, &settings, &error);
  g_assert(verdict != NULL);
}

static void use_baseline(GBytes *bytes, gboolean framed_here)
{
  (void)framed_here;
  g_autoptr(GError) error = NULL;
  g_autoptr(DriftBaseline) baseline = drift_baseline_from_bytes(known_grid, bytes, &error);
  g_assert((baseline == NULL) == (error != NULL));
  if (baseline == NULL) return;
  g_autoptr(DriftAccumulator) counts = drift_accumulator_new(known_grid);
  g_autoptr(GBytes) both = drift_reference_to_bytes(counts, baseline);
  use_reference(both, TRUE);
}

static const struct {
  const gchar *magic;
  void (*use)(GBytes *bytes, gboolean framed_here);
} readers[] = {{"KDGR", use_grid},
               {"KDAC", use_accumulator},
               {"KDLR", use_label_rows},
               {"KDRF", use_reference},
               {"KDBL", use_baseline}};

int LLVMFuzzerTestOneInput(const guint8 *data, size_t size)
{
  if (known_grid == NULL) known_grid = state_world_grid();
  if (size < 1) return 0;
  guint reader = (data[0] & 0x7f) % (G_N_ELEMENTS(readers) + 1);
  gboolean framed_here = (data[0] & 0x80) == 0;
  if (reader == G_N_ELEMENTS(readers)) {
    use_rows(data + 1, size - 1);
    return 0;
  }
  g_autoptr(GByteArray) raw = g_byte_array_new();
  g_byte_array_append(raw, data + 1, (guint)(size - 1));
  g_autoptr(GBytes) bytes =
      framed_here ? drift_frame_pack(readers[reader].magic, 1, raw) : g_bytes_new(data + 1, size - 1);
  readers[reader].use(bytes, framed_here);
  return 0;
}
