#include "pipeline/tree_xgboost.h"

#include <math.h>
#include <string.h>
#include <xgboost/c_api.h>

struct _PipelineTreeRows {
  DMatrixHandle handle;
};

struct _PipelineTreeBooster {
  BoosterHandle handle;
};

/* Its message without place in its source and stack. */
static gboolean failed(GError **error)
{
  g_auto(GStrv) lines = g_strsplit(XGBGetLastError(), "\n", 2);
  const gchar *text = lines[0] != NULL ? lines[0] : "", *start = strstr(text, "Check failed: ");
  g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_INVALID, "XGBoost: %s", start != NULL ? start : text);
  return FALSE;
}

/* --- rows --------------------------------------------------------------------------------------------------------- */

PipelineTreeRows *pipeline_tree_rows_new(const float *x, gsize n, guint d, GError **error)
{
  DMatrixHandle handle;
  if (n == 0 || d == 0) {
    g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_INVALID, "no rows or no columns to learn from");
    return NULL;
  }
  if (XGDMatrixCreateFromMat(x, n, d, NAN, &handle) != 0) {
    failed(error);
    return NULL;
  }
  PipelineTreeRows *rows = g_new0(PipelineTreeRows, 1);
  rows->handle = handle;
  return rows;
}

void pipeline_tree_rows_free(PipelineTreeRows *rows)
{
  if (rows == NULL) return;
  XGDMatrixFree(rows->handle);
  g_free(rows);
}

gboolean pipeline_tree_rows_set(PipelineTreeRows *rows, const gchar *field, const float *numbers, gsize length,
                                GError **error)
{
  return XGDMatrixSetFloatInfo(rows->handle, field, numbers, length) == 0 || failed(error);
}

/* --- boosting ----------------------------------------------------------------------------------------------------- */

static gboolean set_parameters(PipelineTreeBooster *booster, const PipelineTreeParameter *parameters, GError **error)
{
  static const PipelineTreeParameter fixed[] = {
      {"nthread", "1"}, {"tree_method", "hist"}, {"booster", "gbtree"}, {"verbosity", "0"}, {NULL, NULL}};
  const PipelineTreeParameter *const lists[] = {fixed, parameters};
  for (guint l = 0; l < G_N_ELEMENTS(lists); l++)
    for (guint i = 0; lists[l][i].name != NULL; i++)
      if (XGBoosterSetParam(booster->handle, lists[l][i].name, lists[l][i].value) != 0) return failed(error);
  return TRUE;
}

PipelineTreeBooster *pipeline_tree_booster_new(PipelineTreeRows *const *rows, guint n,
                                               const PipelineTreeParameter *parameters, GError **error)
{
  g_autofree DMatrixHandle *handles = g_new(DMatrixHandle, n + 1);
  for (guint i = 0; i < n; i++) handles[i] = rows[i]->handle;
  g_autoptr(PipelineTreeBooster) booster = g_new0(PipelineTreeBooster, 1);
  if (XGBoosterCreate(handles, n, &booster->handle) != 0) {
    booster->handle = NULL;
    failed(error);
    return NULL;
  }
  return set_parameters(booster, parameters, error) ? g_steal_pointer(&booster) : NULL;
}

void pipeline_tree_booster_free(PipelineTreeBooster *booster)
{
  if (booster == NULL) return;
  if (booster->handle != NULL) XGBoosterFree(booster->handle);
  g_free(booster);
}

gboolean pipeline_tree_booster_update(PipelineTreeBooster *booster, PipelineTreeRows *rows, guint round, GError **error)
{
  return XGBoosterUpdateOneIter(booster->handle, (int)round, rows->handle) == 0 || failed(error);
}

gboolean pipeline_tree_booster_update_by(PipelineTreeBooster *booster, PipelineTreeRows *rows, float *gradients,
                                         float *hessians, gsize length, GError **error)
{
  return XGBoosterBoostOneIter(booster->handle, rows->handle, gradients, hessians, length) == 0 || failed(error);
}

const float *pipeline_tree_booster_predict(const PipelineTreeBooster *booster, PipelineTreeRows *rows, gboolean raw,
                                           gsize *length, GError **error)
{
  static const gchar *const configurations[] = {
      "{\"type\": 0, \"training\": false, \"iteration_begin\": 0, \"iteration_end\": 0, \"strict_shape\": false}",
      "{\"type\": 1, \"training\": false, \"iteration_begin\": 0, \"iteration_end\": 0, \"strict_shape\": false}"};
  const bst_ulong *shape;
  bst_ulong dimensions;
  const float *values;
  if (XGBoosterPredictFromDMatrix(booster->handle, rows->handle, configurations[raw != FALSE], &shape, &dimensions,
                                  &values) != 0) {
    failed(error);
    return NULL;
  }
  *length = 1;
  for (bst_ulong i = 0; i < dimensions; i++) *length *= shape[i];
  return values;
}

GBytes *pipeline_tree_booster_to_json(const PipelineTreeBooster *booster, GError **error)
{
  bst_ulong length;
  const char *text;
  if (XGBoosterSaveModelToBuffer(booster->handle, "{\"format\": \"json\"}", &length, &text) != 0) {
    failed(error);
    return NULL;
  }
  return g_bytes_new(text, length);
}
