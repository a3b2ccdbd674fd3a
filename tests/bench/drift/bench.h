/* What the parts of the speed comparison share: CPU time, the data that tests/bench/drift/data.py wrote, results. */
#pragma once

#include <glib.h>

/* The best of `rounds` runs of run(data), CPU seconds of this process. */
double bench_best(guint rounds, void (*run)(gpointer data), gpointer data);
/* Raw doubles of FOLDER/NAME.f64; free with g_free. Ends the program when they are not there. */
double *bench_read(const gchar *folder, const gchar *name, gsize *n);
/* One figure: seconds / units, in nanoseconds. */
void bench_print(const gchar *key, double seconds, double units);
/* Ends the program when `done` is FALSE: a benchmark of failures measures nothing. */
void bench_require(gboolean done, const gchar *what);

void bench_two_sample(const gchar *folder);
void bench_report(const gchar *folder);
void bench_stream(const gchar *folder);
void bench_estimate(const gchar *folder);
void bench_fairness(const gchar *folder);
void bench_multivariate(const gchar *folder);
void bench_sketch(const gchar *folder);
