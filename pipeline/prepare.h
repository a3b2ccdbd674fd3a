/* From a table to training, validation and test matrices: cleaning of the training rows, a split, and a fitted plan of
 * transformations that is also a graph (`kedge prepare`).
 *
 *     PipelinePrepareOptions options;
 *     pipeline_prepare_options_init(&options);
 *     g_autoptr(PipelinePreparation) preparation = pipeline_prepare(table, schema, &options, &error);
 */
#pragma once

#include <jansson.h>

#include "pipeline/clean.h"
#include "pipeline/prepare_search.h"
#include "pipeline/split.h"
#include "pipeline/transform.h"

G_BEGIN_DECLS

typedef struct {
  const PipelineSplit *split;              /* NULL: by time */
  double validation, test;                 /* shares */
  const PipelinePlan *plan;                /* NULL: the default one */
  const PipelineCleanOptions *clean;       /* NULL: nothing is cleaned */
  const PipelinePlanSearchOptions *search; /* instead of a plan; NULL: none. Its split and seed are those above */
  PipelinePlanSearchFunc progress;         /* of the search; or NULL */
  gpointer user_data;
  guint64 seed;
} PipelinePrepareOptions;
void pipeline_prepare_options_init(PipelinePrepareOptions *options);

enum { PIPELINE_PART_TRAIN, PIPELINE_PART_VALIDATION, PIPELINE_PART_TEST, PIPELINE_N_PARTS };

typedef struct {
  DriftTable *table; /* with the training rows' cleaned values; owned */
  PipelineTrainerRows *rows;
  PipelinePrepared *prepared;
  GBytes *onnx;  /* the preprocessing alone: inputs as pipeline/model.h has them, output "prepared" [N, columns] */
  float *matrix; /* [table->n_rows][columns]; rows that are dropped or without label are not meant */
  guint64 n_read;
  json_t *cleaning, *search; /* reports of pipeline_clean and pipeline_plan_search, or NULL */
} PipelinePreparation;

/* DATA and INVALID name row and column. Takes `table` whether it succeeds or not. */
PipelinePreparation *pipeline_prepare(DriftTable *table, const DriftSchema *schema,
                                      const PipelinePrepareOptions *options, GError **error);
void pipeline_preparation_free(PipelinePreparation *preparation);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(PipelinePreparation, pipeline_preparation_free)
/* The rows of a part: *n of them; borrowed. */
const guint64 *pipeline_preparation_get_rows(const PipelinePreparation *preparation, guint part, guint64 *n);
/* X_train [n, columns] float32, y_train [n] (int64 class numbers, or float32 values), row_train [n] (int64, 0-based
 * data rows), the same for validation and test where they have rows; columns [columns] and classes [classes] as UTF-8
 * texts of fixed width. */
gboolean pipeline_preparation_write_npz(const PipelinePreparation *preparation, const DriftSchema *schema,
                                        const gchar *path, GError **error);
/* {"rows": {"read", "without_label", "train", "validation", "test"}, "cleaning", "columns": [{"columns", "steps":
 * [{"name", "parameters", …}], "makes"}], "output_columns"}; new. */
json_t *pipeline_preparation_report(const PipelinePreparation *preparation);

G_END_DECLS
