/* The two-sample tests by name: one table, used by `kedge drift test`. Adding one: its function in two_sample_METHOD.c
 * or binned.c, and a line in two_sample_method.c. */
#pragma once

#include "drift/category_counts.h"
#include "drift/two_sample.h"

G_BEGIN_DECLS

/* A column of both data sets: samples for numbers, counts for categories; the other part is NULL. */
typedef struct {
  const DriftSample *reference, *current;
  const DriftCategoryCounts *counts;
} DriftTwoSampleData;

typedef struct _DriftTwoSampleMethod DriftTwoSampleMethod;
struct _DriftTwoSampleMethod {
  const gchar *name;
  gboolean numeric, categorical; /* kinds of columns it takes */
  const gchar *summary;
  const gchar *const *option_help; /* "key=default  meaning", NULL-terminated */
  /* options: text -> text, may be NULL; unknown keys and bad values are refused with an error. A column of a kind that
   * the method does not take gives an undefined result, no error. */
  gboolean (*run)(const DriftTwoSampleMethod *method, const DriftTwoSampleData *data, GHashTable *options,
                  DriftTestResult *result, GError **error);
  /* Equal samples must give no evidence, distant ones strong evidence. */
  gboolean (*selftest)(const DriftTwoSampleMethod *method, GError **error);
  /* Private: which function of counts, for methods that share `run`. */
  double (*count_statistic)(const double *reference, const double *current, guint n_cells);
  void (*count_test)(const double *reference, const double *current, guint n_cells, DriftTestResult *result);
  void (*sample_test)(const DriftSample *reference, const DriftSample *current, DriftTestResult *result);
};

extern const DriftTwoSampleMethod drift_two_sample_methods[];         /* ends with a NULL name */
const DriftTwoSampleMethod *drift_two_sample_find(const gchar *name); /* NULL: none */

G_END_DECLS
