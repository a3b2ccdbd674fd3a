/* Online detectors: CPU time a value, in blocks as `kedge drift stream` feeds arrays; detectors' own starting over
 * after alarms included. */
#include "drift/detector.h"
#include "tests/bench/drift/bench.h"

typedef struct {
  DriftDetector *detector;
  const double *values;
  gsize n;
} Stream;

static void run_stream(gpointer data)
{
  const Stream *stream = data;
  drift_detector_reset(stream->detector);
  guint8 signals[1024];
  for (gsize from = 0; from < stream->n;)
    from += drift_detector_update_many(stream->detector, stream->values + from,
                                       MIN(stream->n - from, G_N_ELEMENTS(signals)), signals);
}

static void measure(const gchar *key, const gchar *method, const double *values, gsize n)
{
  g_autoptr(DriftDetector) detector = drift_detector_new(method, NULL, NULL);
  bench_require(detector != NULL, method);
  Stream stream = {detector, values, n};
  bench_print(key, bench_best(5, run_stream, &stream), (double)n);
}

void bench_stream(const gchar *folder)
{
  static const gchar *const of_errors[] = {"adwin", "ddm", "eddm", "hddm-a", "hddm-w", "page-hinkley", "auto"};
  gsize n_errors, n_normals;
  g_autofree double *errors = bench_read(folder, "errors", &n_errors),
                    *normals = bench_read(folder, "normals", &n_normals);
  for (guint i = 0; i < G_N_ELEMENTS(of_errors); i++) measure(of_errors[i], of_errors[i], errors, n_errors);
  measure("kswin", "kswin", normals, n_normals);
  measure("adwin-normals", "adwin", normals, n_normals);
  measure("auto-normals", "auto", normals, n_normals);
}
