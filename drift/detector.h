/* Online detectors on one series. One table of types; each type saves and restores its state to bytes, and a restored
 * detector continues identically. No allocation per update once warm. */
#pragma once

#include <glib.h>

#include "drift/schema.h"

G_BEGIN_DECLS

typedef struct _DriftDetector DriftDetector;

typedef enum { DRIFT_SIGNAL_NONE, DRIFT_SIGNAL_WARNING, DRIFT_SIGNAL_DRIFT } DriftSignal;

/* One number of a detector's state, for people and reports. */
typedef void (*DriftStateVisit)(const gchar *name, double value, gpointer user_data);

/* What a detector takes; it skips other values, as it does NaN. */
typedef enum { DRIFT_TAKES_NUMBERS, DRIFT_TAKES_FINITE, DRIFT_TAKES_ERRORS } DriftTakes;

typedef struct _DriftDetectorType DriftDetectorType;
/* create, from_bytes and selftest get the type that they are called of: some serve several types. */
struct _DriftDetectorType {
  const gchar *name;               /* "adwin", "ddm", … as `kedge drift stream --method` takes it */
  const gchar *alias;              /* a second name, or NULL */
  const gchar *summary;            /* one line for the help */
  const gchar *const *option_help; /* "key=default  meaning", NULL-terminated */
  DriftTakes takes;
  /* options: text -> text; unknown keys refused */
  DriftDetector *(*create)(const DriftDetectorType *type, GHashTable *options, GError **error);
  DriftSignal (*update)(DriftDetector *detector, double value);
  /* As drift_detector_update_many; NULL: value by value. */
  gsize (*update_many)(DriftDetector *detector, const double *values, gsize n, guint8 *signals);
  /* Index (0-based, of values fed so far) at which the change is estimated to have begun; -1 if the type has none. */
  gint64 (*get_change_point)(const DriftDetector *detector);
  /* Evidence for a change, on the natural log scale, and the level at which it is a drift; NULL if the type has none.
   */
  double (*get_evidence)(const DriftDetector *detector, double *threshold);
  /* Its state in numbers; NULL if the type names none. */
  void (*describe)(const DriftDetector *detector, DriftStateVisit visit, gpointer user_data);
  void (*reset)(DriftDetector *detector);
  GBytes *(*to_bytes)(const DriftDetector *detector);
  DriftDetector *(*from_bytes)(const DriftDetectorType *type, GBytes *bytes, GError **error);
  gsize (*get_size)(const DriftDetector *detector); /* bytes */
  void (*free)(DriftDetector *detector);
  gboolean (*selftest)(const DriftDetectorType *type, GError **error);
  const struct _DriftLayout *layout; /* detector_internal.h; NULL: the type keeps its state by itself */
};

/* Every concrete detector begins with this. */
struct _DriftDetector {
  const DriftDetectorType *type;
};

/* The visible table, NULL-terminated. */
extern const DriftDetectorType *const drift_detector_types[];
/* By name or alias; case, "-", "_" and spaces do not count ("HDDM_A" finds "hddm-a"). NULL: none. */
const DriftDetectorType *drift_detector_find(const gchar *name);
DriftDetector *drift_detector_new(const gchar *name, GHashTable *options, GError **error);
DriftSignal drift_detector_update(DriftDetector *detector, double value);
/* The same for values [n] at hand: signals [n] get each one's DriftSignal. Stops after the first drift; returns how
 * many values were taken. */
gsize drift_detector_update_many(DriftDetector *detector, const double *values, gsize n, guint8 *signals);
/* FALSE: update skips this value, but counts it in row numbers. */
gboolean drift_detector_takes(const DriftDetector *detector, double value);
/* "errors in [0, 1]", … for messages; static. */
const gchar *drift_detector_get_takes(const DriftDetector *detector);
gint64 drift_detector_get_change_point(const DriftDetector *detector);
/* FALSE (outputs untouched) when the type has no evidence. */
gboolean drift_detector_get_evidence(const DriftDetector *detector, double *evidence, double *threshold);
void drift_detector_describe(const DriftDetector *detector, DriftStateVisit visit, gpointer user_data);
/* Bytes this instance takes, its buffers included. */
gsize drift_detector_get_size(const DriftDetector *detector);
void drift_detector_reset(DriftDetector *detector);
GBytes *drift_detector_to_bytes(const DriftDetector *detector);
/* The bytes name their type. */
DriftDetector *drift_detector_from_bytes(GBytes *bytes, GError **error);
void drift_detector_free(DriftDetector *detector);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(DriftDetector, drift_detector_free)

G_END_DECLS
