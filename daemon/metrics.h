/* Prometheus metrics. One visible table of definitions (name, type, unit, help) in daemon/metrics.c, which also makes
 * the documentation; using a name that is not in it is a programming error. Thread-safe. */
#pragma once

#include <glib.h>

G_BEGIN_DECLS

typedef enum { METRICS_COUNTER, METRICS_GAUGE, METRICS_HISTOGRAM } MetricsType;
typedef struct {
  const gchar *name; /* kedge_…, with unit suffix, counters end in _total */
  MetricsType type;
  const gchar *labels; /* names of its labels, comma-separated; NULL: one series without labels that starts at 0 */
  const gchar *help;
} MetricsDefinition;
extern const MetricsDefinition metrics_definitions[]; /* ends with name NULL */

typedef struct _Metrics Metrics;
Metrics *metrics_new(void);
void metrics_free(Metrics *metrics);
/* labels: `model="m",partition="0"` (already escaped by metrics_label), or NULL. */
void metrics_add(Metrics *metrics, const gchar *name, const gchar *labels, double delta);
void metrics_set(Metrics *metrics, const gchar *name, const gchar *labels, double value);
void metrics_observe(Metrics *metrics, const gchar *name, const gchar *labels, double value);
/* FALSE: no such series. Counters and gauges only. */
gboolean metrics_get(Metrics *metrics, const gchar *name, const gchar *labels, double *value);
/* key, value, …, NULL → label text (new), values escaped. */
gchar *metrics_label(const gchar *key, ...) G_GNUC_NULL_TERMINATED;
/* The exposition text (format 0.0.4), new. */
gchar *metrics_format(Metrics *metrics);

G_END_DECLS
