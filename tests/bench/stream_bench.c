/* CPU time an event of every online detector, on errors and on normal values without a change. */
#include <math.h>
#include <stdio.h>
#include <time.h>

#include "drift/detector.h"

#define N_VALUES 200000

static double next_uniform(guint64 *state)
{
  *state = *state * G_GUINT64_CONSTANT(6364136223846793005) + G_GUINT64_CONSTANT(1442695040888963407);
  return (double)(*state >> 11) / 9007199254740992.0;
}

static double cpu_seconds(void)
{
  struct timespec now;
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
  return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

/* The best of five runs. */
static double measure(const DriftDetectorType *type, const double *values)
{
  double best = INFINITY;
  g_autoptr(DriftDetector) detector = drift_detector_new(type->name, NULL, NULL);
  for (guint run = 0; run < 5; run++) {
    drift_detector_reset(detector);
    double start = cpu_seconds();
    for (guint i = 0; i < N_VALUES; i++) drift_detector_update(detector, values[i]);
    best = MIN(best, cpu_seconds() - start);
  }
  return 1e9 * best / N_VALUES;
}

int main(void)
{
  g_autofree double *errors = g_new(double, N_VALUES), *normals = g_new(double, N_VALUES);
  guint64 state = 1;
  for (guint i = 0; i < N_VALUES; i++) {
    errors[i] = next_uniform(&state) < .2;
    normals[i] = sqrt(-2 * log(1 - next_uniform(&state))) * cos(2 * G_PI * next_uniform(&state));
  }
  printf("| detector | errors, ns an event | normal values, ns an event | bytes |\n| --- | --- | --- | --- |\n");
  for (guint i = 0; drift_detector_types[i] != NULL; i++) {
    g_autoptr(DriftDetector) detector = drift_detector_new(drift_detector_types[i]->name, NULL, NULL);
    printf("| %s | %.1f | %.1f | %zu |\n", drift_detector_types[i]->name, measure(drift_detector_types[i], errors),
           measure(drift_detector_types[i], normals), drift_detector_get_size(detector));
  }
  return 0;
}
