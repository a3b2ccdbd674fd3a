/* The traffic that is simulated: every column of one law, rows in their order. */
#pragma once

#include "drift/accumulator.h"

G_BEGIN_DECLS

typedef enum {
  LAW_NORMAL,
  LAW_T3,
  LAW_CATEGORY_2,
  LAW_CATEGORY_20,
  LAW_CATEGORY_200,
  LAW_AR1,
  LAW_SEASONAL,
  N_LAWS
} Law;
extern const gchar *const law_names[N_LAWS];

/* What is done to the first column. */
typedef struct {
  double shift; /* added to numbers */
  double share; /* of rows that become the second category */
} Change;

typedef struct {
  Law law;
  guint n_columns;
  guint64 state;      /* of the generator */
  guint64 row;        /* next row's number */
  guint64 period;     /* seasonal: rows of one swing */
  double *previous;   /* [n_columns], AR(1) */
  float *season;      /* [period] */
  DriftValue *values; /* [n_columns] of the row made last */
} Traffic;

void traffic_init(Traffic *traffic, Law law, guint n_columns, guint64 period, guint64 seed);
void traffic_clear(Traffic *traffic);
double traffic_uniform(Traffic *traffic);
/* The next row, in `values`. */
void traffic_next(Traffic *traffic, const Change *change);
DriftSchema *traffic_schema(const Traffic *traffic);         /* new */
DriftTable *traffic_table(Traffic *traffic, guint64 n_rows); /* the next n rows; new */
void traffic_count(Traffic *traffic, DriftAccumulator *into, guint64 n_rows,
                   const Change *change); /* the next n rows */

G_END_DECLS
