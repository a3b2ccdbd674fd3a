#include "drift/slices.h"

static const gchar *const kind_names[DRIFT_N_SLICE_KINDS] = {
    [DRIFT_SLICE_SHARE] = "share", [DRIFT_SLICE_LOSS] = "loss", [DRIFT_SLICE_LOSS_RISE] = "loss_rise"};

const gchar *drift_slice_kind_name(DriftSliceKind kind)
{
  return kind_names[kind];
}

void drift_slice_free(gpointer data)
{
  DriftSlice *slice = data;
  for (guint i = 0; i < 2; i++) {
    g_free(slice->features[i]);
    g_free(slice->conditions[i]);
  }
  g_free(slice);
}

void drift_dependence_free(gpointer data)
{
  DriftDependence *dependence = data;
  for (guint i = 0; i < 2; i++) g_free(dependence->features[i]);
  g_free(dependence);
}
