/* What the files of `kedge drift test` share. */
#pragma once

#include "daemon/drift_test.h"
#include "drift/multiple_testing.h"
#include "drift/two_sample_method.h"

G_BEGIN_DECLS

typedef struct {
  double level, minimum_effect;
  const DriftAdjustment *adjust;
} DriftTestSettings;

/* One column of both tables. */
typedef struct {
  const DriftColumn *reference, *current;
  gboolean numeric;
  DriftTwoSampleData data;
  json_t *json; /* borrowed: its object in the report */
} DriftTestColumn;

/* Numbers as JSON: infinities as "inf" and "-inf", NaN as null. */
json_t *drift_test_number(double value);
/* Shares of both sides: of cells over the central range of numbers, of the most frequent categories. */
json_t *drift_test_distribution(const DriftTestColumn *column);

/* The window verdict (drift/window.h) of the columns; sets "verdict" of each and "evidence_log", and "timeline" if
 * asked. *drift gets the answer. */
gboolean drift_test_auto(const DriftTestRequest *request, const DriftTestSettings *settings, DriftTestColumn *columns,
                         guint n_columns, json_t *report, gboolean *drift, GError **error);

/* Sets "slices", "dependences", "dependences_drifted" and "joint_level" if slices are asked for; a dependence that
 * drifts sets *drift. */
gboolean drift_test_slices(const DriftTestRequest *request, const DriftTestSettings *settings,
                           const DriftTestColumn *columns, guint n_columns, json_t *report, gboolean *drift,
                           GError **error);

G_END_DECLS
