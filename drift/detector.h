/* Online detectors on one series. One table of types; each type saves and restores its state to bytes, and a restored
 * detector continues identically. No allocation per update once warm. */
#pragma once

#include <glib.h>

#include "drift/schema.h"

G_BEGIN_DECLS

typedef struct _DriftDetector DriftDetector;

typedef enum { DRIFT_SIGNAL_NONE, DRIFT_SIGNAL_WARNING, DRIFT_SIGNAL_DRIFT } DriftSignal;

typedef struct {
  const gchar *name;               /* "adwin", "ddm", … as `kedge drift stream --method` takes it */
  const gchar *summary;            /* one line for the help */
  const gchar *const *option_help; /* "key=default  meaning", NULL-terminated */
  DriftDetector *(*create)(GHashTable *options, GError **error); /* options: text -> text; unknown keys refused */
  DriftSignal (*update)(DriftDetector *detector, double value);
  /* Index (0-based, of values fed so far) at which the change is estimated to have begun; -1 if the type has none. */
  gint64 (*get_change_point)(const DriftDetector *detector);
  void (*reset)(DriftDetector *detector);
  GBytes *(*to_bytes)(const DriftDetector *detector);
  DriftDetector *(*from_bytes)(GBytes *bytes, GError **error);
  gsize (*get_size)(const DriftDetector *detector); /* bytes */
  void (*free)(DriftDetector *detector);
  gboolean (*selftest)(GError **error);
} DriftDetectorType;

/* Every concrete detector begins with this. */
struct _DriftDetector {
  const DriftDetectorType *type;
};

/* The visible table, NULL-terminated. */
extern const DriftDetectorType *const drift_detector_types[];
const DriftDetectorType *drift_detector_find(const gchar *name);
DriftDetector *drift_detector_new(const gchar *name, GHashTable *options, GError **error);
DriftSignal drift_detector_update(DriftDetector *detector, double value);
gint64 drift_detector_get_change_point(const DriftDetector *detector);
void drift_detector_reset(DriftDetector *detector);
GBytes *drift_detector_to_bytes(const DriftDetector *detector);
/* The bytes name their type. */
DriftDetector *drift_detector_from_bytes(GBytes *bytes, GError **error);
void drift_detector_free(DriftDetector *detector);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(DriftDetector, drift_detector_free)

G_END_DECLS
