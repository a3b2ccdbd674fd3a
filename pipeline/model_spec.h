/* The model's schema as JSON: what the registry keeps for a model, and what every module reads. */
#pragma once

#include "drift/schema.h"
#include "drift/table.h"

G_BEGIN_DECLS

/* {"task": "binary", "label": "class", "classes": ["0","1"], "positive_class": "1",
 *  "features": [{"name": "age", "kind": "numeric", "sensitive": false, "input": true}, …]}
 * {"name": "e", "kind": "embedding", "elements": 64} stands for the numeric features e[0] … e[63] (drift/embedding.h),
 * and features of such names side by side are written so. */
DriftSchema *pipeline_model_spec_parse(const gchar *json, GError **error);
gchar *pipeline_model_spec_format(const DriftSchema *schema);
/* Infers task, classes (sorted), features from a table: every column but label and `exclude` (NULL-terminated) is an
 * input feature; `sensitive` names are marked. Excluded names may be absent. Integer-valued labels with at most 20
 * values are classes. */
DriftSchema *pipeline_model_spec_infer(const DriftTable *table, const gchar *label, const gchar *const *sensitive,
                                       const gchar *const *exclude, GError **error);
/* The features alone, added to the schema: every column but `label` (NULL: none) and `exclude`. */
gboolean pipeline_model_spec_infer_features(DriftSchema *schema, const DriftTable *table, const gchar *label,
                                            const gchar *const *sensitive, const gchar *const *exclude, GError **error);

G_END_DECLS
