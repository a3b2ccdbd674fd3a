/* What a model's rows look like: features in order, the label, its classes, which features are sensitive. */
#pragma once

#include <glib.h>

#include "drift/row.h"

G_BEGIN_DECLS

#define DRIFT_ERROR (drift_error_quark())
GQuark drift_error_quark(void);
typedef enum {
  DRIFT_ERROR_INVALID,   /* bytes or arguments that are not what they claim to be */
  DRIFT_ERROR_MISMATCH,  /* two states of different grids, schemas or versions */
  DRIFT_ERROR_UNDEFINED, /* the statistic is undefined on this input; the message says why */
  DRIFT_ERROR_LIMIT      /* an input is larger than a stated cap */
} DriftError;

typedef enum { DRIFT_NUMERIC, DRIFT_CATEGORICAL } DriftFeatureKind;
typedef enum { DRIFT_TASK_BINARY, DRIFT_TASK_MULTICLASS, DRIFT_TASK_REGRESSION } DriftTask;

typedef struct {
  gchar *name;
  DriftFeatureKind kind;
  gboolean sensitive; /* bias is measured by this feature's groups */
  gboolean input;     /* the model sees it; FALSE: kept only for bias or reporting */
} DriftFeature;

/* A plain value: build with drift_schema_new, add features, set the rest. Owned strings. */
typedef struct {
  DriftTask task;
  gchar *label;         /* name of the label column */
  GPtrArray *features;  /* of DriftFeature*, owned */
  GPtrArray *classes;   /* of gchar*, owned: class names in order; empty for regression */
  guint positive_class; /* index into classes; binary only */
} DriftSchema;

DriftSchema *drift_schema_new(DriftTask task, const gchar *label);
DriftSchema *drift_schema_copy(const DriftSchema *schema);
void drift_schema_free(DriftSchema *schema);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(DriftSchema, drift_schema_free)
void drift_schema_add_feature(DriftSchema *schema, const gchar *name, DriftFeatureKind kind, gboolean sensitive,
                              gboolean input);
void drift_schema_add_class(DriftSchema *schema, const gchar *name);
guint drift_schema_n_features(const DriftSchema *schema);
const DriftFeature *drift_schema_get_feature(const DriftSchema *schema, guint index);
/* Index of the feature of that name, or -1. */
gint drift_schema_find_feature(const DriftSchema *schema, const gchar *name);
/* Index of the class that `value` names, or -1. A number matches a class whose name parses to the same number
 * ("1", "1.0" and 1 are one class). */
gint drift_schema_class_of(const DriftSchema *schema, const DriftValue *value);

G_END_DECLS
