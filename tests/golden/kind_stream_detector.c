/* Online detectors: the rows at which another library's detector alarms. Which library is the norm for which detector,
 * and what the others are, is the folder's README; River's ADWIN and the published one are two modes of ours. */
#include <string.h>

#include "drift/detector.h"
#include "tests/golden/golden.h"

gboolean golden_run_stream_detector(const json_t *golden_case, GoldenContext *context);

typedef struct {
  const gchar *detector;   /* the case's name for it; ours is found by it */
  const gchar *variant;    /* the norm */
  const gchar *key, *mode; /* an option of ours that selects it, or NULL */
  gboolean drift_warns;    /* a warning that ends in a drift includes the drift's row */
} Norm;

static const Norm norms[] = {{"ADWIN", "river", "mode", "river", FALSE},
                             {"ADWIN", "river_core_no_reset", "mode", "moa", FALSE},
                             {"ADWIN", "moa", "mode", "moa", FALSE},
                             {"PageHinkley", "river", NULL, NULL, FALSE},
                             {"DDM", "river", NULL, NULL, FALSE},
                             {"EDDM", "river", NULL, NULL, TRUE},
                             {"FHDDM", "river", NULL, NULL, FALSE},
                             {"HDDM_W", "river", NULL, NULL, FALSE},
                             {"HDDM_A", "river", NULL, NULL, FALSE},
                             {"CUSUM", "moa", NULL, NULL, FALSE},
                             {"GeometricMovingAverage", "moa", NULL, NULL, FALSE},
                             {"RDDM", "moa", NULL, NULL, FALSE},
                             {"STEPD", "moa", NULL, NULL, FALSE},
                             {"KSWindow", "definition", NULL, NULL, FALSE}};

static gchar *text_of(json_t *value)
{
  if (json_is_string(value)) return g_strdup(json_string_value(value));
  if (json_is_boolean(value)) return g_strdup(json_is_true(value) ? "true" : "false");
  return g_strdup_printf("%.17g", json_number_value(value));
}

static DriftDetector *make_detector(const json_t *params, const Norm *norm, GoldenContext *context)
{
  g_autoptr(GHashTable) options = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
  const char *key;
  json_t *value;
  json_object_foreach ((json_t *)params, key, value) {
    if (strcmp(key, "detector") == 0 || strcmp(key, "input") == 0) continue;
    g_hash_table_insert(options, g_strdup(key), text_of(value));
  }
  if (norm->key != NULL) g_hash_table_insert(options, g_strdup(norm->key), g_strdup(norm->mode));
  g_autoptr(GError) error = NULL;
  DriftDetector *detector = drift_detector_new(norm->detector, options, &error);
  if (detector == NULL) golden_fail(context, "%s", error->message);
  return detector;
}

/* Either the rows, or {count, first, last} of a long list. */
static void compare_rows(GoldenContext *context, const json_t *object, const gchar *key, const GArray *rows)
{
  const json_t *expected = json_object_get(object, key);
  const double *found = (const double *)(const void *)rows->data;
  if (!json_is_object(expected)) {
    golden_compare_list(context, object, key, found, rows->len);
    return;
  }
  gsize n_first = json_array_size(json_object_get(expected, "first"));
  gsize n_last = json_array_size(json_object_get(expected, "last"));
  golden_compare(context, expected, "count", rows->len);
  golden_compare_list(context, expected, "first", found, MIN(n_first, rows->len));
  golden_compare_list(context, expected, "last", found + rows->len - MIN(n_last, rows->len), MIN(n_last, rows->len));
}

typedef struct {
  GoldenContext *context;
  const json_t *expected;
} StateCheck;

static void check_number(const gchar *name, double value, gpointer user_data)
{
  StateCheck *check = user_data;
  g_autofree gchar *key = g_strconcat("final_", name, NULL);
  golden_compare_within(check->context, check->expected, key, value, "final_estimation_rel", NULL);
}

static gboolean run_norm(const json_t *golden_case, const Norm *norm, GoldenContext *context)
{
  const json_t *expected = json_object_get(json_object_get(golden_case, "expected"), norm->variant);
  gsize n;
  const double *stream = golden_input(context, golden_case, "stream", &n);
  g_autoptr(DriftDetector) detector = make_detector(json_object_get(golden_case, "params"), norm, context);
  if (detector == NULL) return FALSE;
  g_autoptr(GArray) detections = g_array_new(FALSE, FALSE, sizeof(double));
  g_autoptr(GArray) warnings = g_array_new(FALSE, FALSE, sizeof(double));
  DriftSignal before = DRIFT_SIGNAL_NONE;
  for (gsize row = 0; row < n; row++) {
    DriftSignal signal = drift_detector_update(detector, stream[row]);
    double number = (double)row;
    if (signal == DRIFT_SIGNAL_DRIFT) g_array_append_val(detections, number);
    gboolean ends = norm->drift_warns && signal == DRIFT_SIGNAL_DRIFT && before == DRIFT_SIGNAL_WARNING;
    if (signal == DRIFT_SIGNAL_WARNING || ends) g_array_append_val(warnings, number);
    before = signal;
  }
  compare_rows(context, expected, "detections", detections);
  if (json_object_get(expected, "warnings") != NULL) compare_rows(context, expected, "warnings", warnings);
  drift_detector_describe(detector, check_number, &(StateCheck){context, expected});
  golden_informative(context, expected, "cli");
  golden_informative(context, expected, "n_detections"); /* River's own counter, of another window */
  return TRUE;
}

gboolean golden_run_stream_detector(const json_t *golden_case, GoldenContext *context)
{
  const json_t *expected = json_object_get(golden_case, "expected");
  const gchar *name = json_string_value(json_object_get(json_object_get(golden_case, "params"), "detector"));
  const char *variant;
  json_t *value;
  guint n_norms = 0;
  gboolean ran = TRUE;
  json_object_foreach ((json_t *)expected, variant, value) {
    const Norm *norm = NULL;
    for (guint i = 0; i < G_N_ELEMENTS(norms); i++)
      if (g_strcmp0(norms[i].detector, name) == 0 && strcmp(norms[i].variant, variant) == 0) norm = &norms[i];
    if (norm == NULL) {
      golden_informative(context, expected, variant);
      continue;
    }
    n_norms++;
    ran = run_norm(golden_case, norm, context) && ran;
  }
  if (n_norms == 0) golden_informative_case(context);
  return ran;
}
