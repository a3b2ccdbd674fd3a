/* Errors of the learning side. */
#pragma once

#include <glib.h>

G_BEGIN_DECLS

#define PIPELINE_ERROR (pipeline_error_quark())
GQuark pipeline_error_quark(void);
typedef enum {
  PIPELINE_ERROR_DATA,        /* the data cannot be used: file, line, column, value are named */
  PIPELINE_ERROR_MODEL,       /* the model cannot be used: node, operator, shape are named */
  PIPELINE_ERROR_UNSUPPORTED, /* a stated limit of this program */
  PIPELINE_ERROR_DIVERGED,    /* NaN, exploding loss: the last good checkpoint stays */
  PIPELINE_ERROR_CANCELLED,
  PIPELINE_ERROR_INVALID,
  PIPELINE_ERROR_MEMORY, /* a device has no room for what was asked: smaller passes may do */
  PIPELINE_ERROR_PEER    /* another of the processes that train together failed, and says why */
} PipelineError;

G_END_DECLS
