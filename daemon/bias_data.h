/* What `kedge bias` reads out of a table and out of its options. */
#pragma once

#include "daemon/bias.h"
#include "drift/fairness.h"

G_BEGIN_DECLS

typedef struct {
  DriftFairnessRows rows; /* borrows from the arrays below and from the table */
  gint8 *label, *prediction;
  guint32 *stratum;
  gchar *favourable;
} BiasData;
/* The columns as outcomes; the favourable class is the request's or the larger of the two that occur. */
gboolean bias_data_read(const BiasRequest *request, BiasData *data, GError **error);
void bias_data_clear(BiasData *data);
/* All columns exist, 1 to BIAS_MAX_ATTRIBUTES attributes, the score is numeric. */
gboolean bias_check_columns(const BiasRequest *request, GError **error);

typedef struct {
  const DriftFairnessMetric *metric;
  double value;
} BiasBound;
GArray *bias_parse_bounds(const gchar *const *texts, GError **error); /* of BiasBound; new */

/* The group that the request names for this grouping, crossings by their names ("sex|race=m|white"); -1: none named. */
gboolean bias_find_reference(const BiasRequest *request, const DriftGrouping *grouping, gint *reference,
                             GError **error);

G_END_DECLS
