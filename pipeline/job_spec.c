#include "pipeline/job_internal.h"

#include <math.h>
#include <string.h>

#define SPEC_MAXIMUM (16 * 1024 * 1024)

json_t *pipeline_job_spec_load(const RegistryJob *job, GError **error)
{
  json_error_t fault = {0};
  gboolean fits = job->spec != NULL && strlen(job->spec) <= SPEC_MAXIMUM;
  json_t *spec = fits ? json_loads(job->spec, JSON_REJECT_DUPLICATES, &fault) : NULL;
  if (json_is_object(spec)) return spec;
  json_decref(spec);
  g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_INVALID,
              "the spec of job %s is not a JSON object of at most 16 MiB%s%s", job->id,
              fault.text[0] != '\0' ? ": " : "", fault.text);
  return NULL;
}

gboolean pipeline_job_spec_integer(const json_t *spec, const gchar *name, gint64 minimum, gint64 maximum, gint64 *value,
                                   GError **error)
{
  const json_t *member = json_object_get(spec, name);
  if (member == NULL || json_is_null(member)) return TRUE;
  gint64 number = json_integer_value(member);
  if (!json_is_integer(member) || number < minimum || number > maximum) {
    g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_INVALID,
                "%s of the job's spec must be a whole number from %" G_GINT64_FORMAT " to %" G_GINT64_FORMAT, name,
                minimum, maximum);
    return FALSE;
  }
  *value = number;
  return TRUE;
}

gboolean pipeline_job_spec_real(const json_t *spec, const gchar *name, double minimum, double maximum, double *value,
                                GError **error)
{
  const json_t *member = json_object_get(spec, name);
  if (member == NULL || json_is_null(member)) return TRUE;
  double number = json_number_value(member);
  if (!json_is_number(member) || !isfinite(number) || number < minimum || number > maximum) {
    g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_INVALID, "%s of the job's spec must be a number from %g to %g",
                name, minimum, maximum);
    return FALSE;
  }
  *value = number;
  return TRUE;
}

gboolean pipeline_job_spec_text(const json_t *spec, const gchar *name, const gchar **value, GError **error)
{
  const json_t *member = json_object_get(spec, name);
  if (member == NULL || json_is_null(member)) return TRUE;
  if (!json_is_string(member)) {
    g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_INVALID, "%s of the job's spec must be a text", name);
    return FALSE;
  }
  *value = json_string_value(member);
  return TRUE;
}
