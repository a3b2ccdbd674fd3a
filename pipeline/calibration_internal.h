/* What calibration.c (the whole), calibration_map.c (the maps), calibration_decision.c (the thresholds) and
 * calibration_graph.c (the nodes) share. */
#pragma once

#include "drift/isotonic.h"
#include "pipeline/calibration.h"

G_BEGIN_DECLS

#define PIPELINE_CALIBRATION_PREFIX "kedge.calibration."
#define PIPELINE_CALIBRATION_FLOOR 1e-30 /* smallest probability whose logarithm is taken */

/* Probabilities of rows with their true classes. */
typedef struct {
  double *p;     /* [n, n_classes] in the schema's order */
  guint *labels; /* [n] */
  gsize n;
  guint n_classes, positive;
} PipelineCalibrationRows;

typedef struct _PipelineCalibrationMap PipelineCalibrationMap;

/* A fitted map. */
typedef struct {
  const PipelineCalibrationMap *map;
  double slope, intercept;  /* temperature: slope 1 / T; platt */
  DriftIsotonic **isotonic; /* [n_classes], or of the positive class alone when there are two */
  guint n_isotonic;
} PipelineCalibrationFit;

/* Nodes that are added to a graph: value is the last one, [N, n_columns]. */
typedef struct {
  OnnxGraph *graph;
  gchar *value;
  guint n_columns, positive; /* column of the positive class */
  const guint *class_of;     /* [n_columns] */
} PipelineCalibrationNodes;

struct _PipelineCalibrationMap {
  const gchar *name;
  gboolean two_classes; /* only */
  gboolean (*fit)(PipelineCalibrationFit *fit, const PipelineCalibrationRows *rows, GError **error);
  void (*apply)(const PipelineCalibrationFit *fit, const PipelineCalibrationRows *rows, double *p);
  void (*write)(const PipelineCalibrationFit *fit, PipelineCalibrationNodes *nodes);
};
extern const PipelineCalibrationMap pipeline_calibration_maps[]; /* ends with name NULL */
/* INVALID lists the known ones; "auto" is none of them. */
const PipelineCalibrationMap *pipeline_calibration_map_find(const gchar *name, GError **error);
void pipeline_calibration_fit_clear(PipelineCalibrationFit *fit);

/* A rule, or INVALID. */
typedef struct {
  double threshold;                    /* NaN: chosen */
  double beta;                         /* of F-beta; NaN: by costs */
  double cost_positive, cost_negative; /* of a false positive, a false negative */
} PipelineDecisionRule;
gboolean pipeline_decision_parse(const gchar *text, PipelineDecisionRule *rule, GError **error);
/* p [n]: of the positive class; labels [n] 0/1 with both occurring. */
float pipeline_decision_choose(const PipelineDecisionRule *rule, const double *p, const guint8 *labels, gsize n);

/* "prefix + suffix" of the added parts; new. */
gchar *pipeline_calibration_name(const PipelineCalibrationNodes *nodes, const gchar *suffix);
/* op_type(inputs…) → a value that becomes nodes->value; inputs end with NULL. Returns the node. */
OnnxNode *pipeline_calibration_add(PipelineCalibrationNodes *nodes, const gchar *op_type, const gchar *const *inputs);
/* A constant [rows, columns] (rows 0: [columns]); its name, borrowed from the graph. */
const gchar *pipeline_calibration_constant(PipelineCalibrationNodes *nodes, gint64 rows, gint64 columns,
                                           const double *values);
/* Removes what was added and gives the outputs back; TRUE: there was something. */
gboolean pipeline_calibration_strip(OnnxGraph *graph, GError **error);
/* Adds map (NULL: none) and decision (threshold NaN: the largest) to the graph of a loaded model that has neither. */
GBytes *pipeline_calibration_attach(GBytes *onnx, const DriftSchema *schema, const PipelineCalibrationFit *fit,
                                    float threshold, const gchar *metadata, GError **error);

G_END_DECLS
