/* From a table's rows to a network's feature matrix: runs the frozen preprocessing in front of the layers. */
#pragma once

#include "drift/table.h"
#include "pipeline/attack_network.h"
#include "pipeline/network_graph.h"
#include "pipeline/spill.h"

G_BEGIN_DECLS

typedef struct _PipelineFeatureReader PipelineFeatureReader;
/* Copies what it needs of graph and schema. Rows enter as in pipeline/model.h. */
PipelineFeatureReader *pipeline_feature_reader_new(const PipelineNetworkGraph *graph, const DriftSchema *schema,
                                                   GError **error);
/* The same for any value [N, n_inputs] of float32 in a graph. takes_missing: NaN is a feature like others. */
PipelineFeatureReader *pipeline_feature_reader_new_at(const OnnxGraph *graph, const gchar *features, guint n_inputs,
                                                      gboolean takes_missing, const DriftSchema *schema,
                                                      GError **error);
/* names [n_inputs] of the features, for messages; borrowed until the reader is freed. */
void pipeline_feature_reader_set_names(PipelineFeatureReader *reader, const GPtrArray *names);
void pipeline_feature_reader_free(PipelineFeatureReader *reader);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(PipelineFeatureReader, pipeline_feature_reader_free)

/* The features of the whole table: new array [table->n_rows, n_inputs]; free with g_free. DATA names row and column of
 * a value that preprocessing turned into something that is not finite. */
float *pipeline_feature_reader_read(PipelineFeatureReader *reader, const DriftTable *table, GError **error);

/* The same in an array that may lie in a file, which has no limit but the disk. */
PipelineSpill *pipeline_feature_reader_spill(PipelineFeatureReader *reader, const DriftTable *table, GError **error);

/* Schema indices of the numeric input features, in order: the features of the attack space. */
GArray *pipeline_feature_reader_list_numeric(const PipelineFeatureReader *reader); /* of guint, new */
/* Standard deviation of a numeric column over its rows that are not missing; 0 when it does not vary. */
double pipeline_column_sd(const DriftColumn *column);
/* How the feature matrix follows the numeric inputs, in units of their standard deviations in the table; found by
 * differences. UNSUPPORTED when preprocessing is not linear in them. */
PipelineAttackSpace *pipeline_feature_reader_find_space(PipelineFeatureReader *reader, const DriftTable *table,
                                                        GError **error);

G_END_DECLS
