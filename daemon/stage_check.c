#include "daemon/stage_check.h"

#include "pipeline/job_kinds.h"

gboolean stage_check(const gchar *kind, gconstpointer options, GError **error)
{
  const PipelineJobKind *known = pipeline_job_kind_find(kind);
  return known == NULL || known->check == NULL || known->check(options, error);
}
