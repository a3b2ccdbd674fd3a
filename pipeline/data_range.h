/* Ranges of the labelled log read into a table: the data sets of jobs. */
#pragma once

#include <jansson.h>

#include "drift/schema.h"
#include "drift/table.h"
#include "registry/artifact.h"
#include "registry/store.h"

G_BEGIN_DECLS

#define PIPELINE_DATA_MAX_ROWS 50000000 /* of all ranges together */

typedef struct {
  gint32 partition, label_partition;
  gint64 first_row, next_row; /* [first, next) of the labelled log of (partition, label_partition) */
  /* set by reading; -1 and an empty digest text before */
  gchar sha256[65]; /* hex, over the concatenated row bytes */
  gint64 first_traffic_offset, last_traffic_offset, first_label_offset, last_label_offset; /* smallest, largest */
  gint64 first_time, last_time; /* event times of the predictions, microseconds; smallest, largest */
} PipelineDataRange;

/* The array `name` of the spec (of PipelineDataRange); an absent or null member gives an empty one. NULL: an error that
 * names the member. */
GArray *pipeline_data_ranges_parse(const json_t *spec, const gchar *name, GError **error);
json_t *pipeline_data_ranges_to_json(const GArray *ranges); /* new reference */

typedef struct {
  DriftTable *table; /* a column per feature in schema order, then the label (schema->label): class names as the schema
                        spells them, missing where the label is of no known class; numbers for regression */
  GArray *times;     /* of gint64: event time of each row */
  GArray *versions;  /* of gint64: the version that served the row; 0: not stated */
} PipelineDataSet;
PipelineDataSet *pipeline_data_set_new(const DriftSchema *schema);
void pipeline_data_set_free(PipelineDataSet *set);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(PipelineDataSet, pipeline_data_set_free)

/* Appends the rows of `ranges` in their order and fills in what was read. On an error neither is to be used. */
gboolean pipeline_data_ranges_read(RegistryStore *store, RegistryArtifacts *artifacts, const gchar *model,
                                   const DriftSchema *schema, GArray *ranges, PipelineDataSet *set, GError **error);
/* Rows with a label, in order of event time (equal times keep their order); new array of guint64 row numbers. */
GArray *pipeline_data_set_usable_by_time(const PipelineDataSet *set, const DriftSchema *schema);

G_END_DECLS
