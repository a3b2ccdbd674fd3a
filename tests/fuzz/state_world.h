/* The grid that the fuzzers of states and their seeds share. */
#pragma once

#include <math.h>

#include "drift/accumulator.h"

static inline DriftTable *state_world_table(guint n_rows)
{
  DriftTable *table = drift_table_new();
  DriftColumn *x = drift_table_add_column(table, "x", DRIFT_NUMERIC);
  DriftColumn *g = drift_table_add_column(table, "g", DRIFT_CATEGORICAL);
  const gchar *const groups[] = {"a", "b", "c"};
  for (guint row = 0; row < n_rows; row++) {
    drift_column_append_number(x, sin(row));
    drift_column_append_text(g, groups[row * row % 3], -1);
  }
  table->n_rows = n_rows;
  return table;
}

static inline DriftGrid *state_world_grid(void)
{
  g_autoptr(DriftSchema) schema = drift_schema_new(DRIFT_TASK_BINARY, "y");
  drift_schema_add_feature(schema, "x", DRIFT_NUMERIC, FALSE, TRUE);
  drift_schema_add_feature(schema, "g", DRIFT_CATEGORICAL, TRUE, TRUE);
  drift_schema_add_class(schema, "0");
  drift_schema_add_class(schema, "1");
  schema->positive_class = 1;
  g_autoptr(DriftTable) table = state_world_table(60);
  DriftGrid *grid = drift_grid_new(schema, table, 8, NULL);
  g_assert(grid != NULL);
  return grid;
}

static inline void state_world_event(guint i, DriftValue *features, DriftEvent *event)
{
  static const double odd[] = {INFINITY, -INFINITY, 1e300, 5e-324, -0.0, 2};
  features[0] = i % 5 == 0 ? drift_value_number(odd[i / 5 % G_N_ELEMENTS(odd)]) : drift_value_number(cos(i));
  features[1] = i % 4 == 0 ? drift_value_missing() : drift_value_text(i % 3 == 0 ? "a" : "new", -1);
  *event = (DriftEvent){.request_id = drift_value_text("id", -1),
                        .version = (gint64)i % 90 - 3,
                        .prediction = i % 2 == 0 ? drift_value_number(1) : drift_value_text("0", -1),
                        .score = i % 7 == 0 ? NAN : i % 10 / 10.0,
                        .latency_ms = i % 6 == 0 ? NAN : i,
                        .features = features};
}
