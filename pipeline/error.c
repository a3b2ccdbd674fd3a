#include "pipeline/error.h"

GQuark pipeline_error_quark(void)
{
  return g_quark_from_static_string("pipeline-error-quark");
}
