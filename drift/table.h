/* A columnar table in memory: reference data, a data set, a CSV. Numeric columns are doubles (NaN = missing);
 * categorical columns are codes into a dictionary of texts (DRIFT_CODE_MISSING = missing). */
#pragma once

#include <glib.h>

#include "drift/schema.h"

G_BEGIN_DECLS

#define DRIFT_CODE_MISSING G_MAXUINT32

typedef struct {
  gchar *name;
  DriftFeatureKind kind;
  GArray *numbers;       /* of double; NULL for categorical */
  GArray *codes;         /* of guint32; NULL for numeric */
  GPtrArray *dictionary; /* of gchar*, by code; NULL for numeric */
  GHashTable *code_of;   /* text -> code + 1; borrowed keys; NULL for numeric */
} DriftColumn;

typedef struct {
  guint64 n_rows;     /* kept by whoever appends to the columns: every column has this many cells */
  GPtrArray *columns; /* of DriftColumn*, owned */
} DriftTable;

DriftTable *drift_table_new(void);
void drift_table_free(DriftTable *table);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(DriftTable, drift_table_free)
DriftColumn *drift_table_add_column(DriftTable *table, const gchar *name, DriftFeatureKind kind); /* borrowed */
DriftColumn *drift_table_get_column(const DriftTable *table, const gchar *name);                  /* borrowed or NULL */
void drift_column_append_number(DriftColumn *column, double number);
void drift_column_append_text(DriftColumn *column, const gchar *text, gssize length);
void drift_column_append_missing(DriftColumn *column);
/* The cell as a value; text borrows from the dictionary. */
DriftValue drift_column_get_value(const DriftColumn *column, guint64 row);
/* New table with the given rows of `table` in that order. */
DriftTable *drift_table_select(const DriftTable *table, const guint64 *rows, guint64 n_rows);
/* Splits the table's row into an event's features in schema order (borrowed texts). */
void drift_table_get_features(const DriftTable *table, const DriftSchema *schema, guint64 row, DriftValue *features);

G_END_DECLS
