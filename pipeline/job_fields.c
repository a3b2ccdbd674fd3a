#include "pipeline/job_fields.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

const gchar *const pipeline_job_field_norms[] = {"inf", "2", NULL};
const gchar *const pipeline_job_field_units[] = {"sd", "absolute", NULL};
const gchar *const pipeline_job_field_ranges[] = {"data", "none", NULL};

/* What every kind's spec may hold; job_training_load.c and job_run.c read them. */
static const gchar *const common[] = {"model", "data", "rehearsal", "from",   "champion", "holdout_fraction",
                                      "seed",  "gate", "incident",  "limits", NULL};

static const PipelineJobField *find_field(const PipelineJobField *fields, const gchar *name)
{
  for (; fields->name != NULL; fields++)
    if (strcmp(fields->name, name) == 0) return fields;
  return NULL;
}

static gchar *list_names(const PipelineJobField *fields)
{
  GString *text = g_string_new(NULL);
  for (; fields->name != NULL; fields++) g_string_append_printf(text, "%s%s", text->len > 0 ? ", " : "", fields->name);
  return g_string_free(text, FALSE);
}

static gboolean refuse_name(const PipelineJobField *fields, const gchar *name, GError **error)
{
  g_autofree gchar *known = list_names(fields);
  g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_INVALID, "%s is not an option of this job: write one of %s", name,
              known);
  return FALSE;
}

static gboolean refuse_value(const PipelineJobField *field, const gchar *text, GError **error)
{
  g_autofree gchar *choices = field->choices != NULL ? g_strjoinv(", ", (gchar **)field->choices) : NULL;
  g_autofree gchar *wanted = field->kind == PIPELINE_FIELD_COUNT
                                 ? g_strdup_printf("a whole number from %.15g to %.15g", field->minimum, field->maximum)
                             : field->kind == PIPELINE_FIELD_REAL
                                 ? g_strdup_printf("a number from %.15g to %.15g", field->minimum, field->maximum)
                             : field->kind == PIPELINE_FIELD_SWITCH ? g_strdup("true or false")
                             : field->kind == PIPELINE_FIELD_CHOICE ? g_strdup_printf("one of %s", choices)
                                                                    : g_strdup("a text");
  g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_INVALID, "%s of the job's spec is %s: it must be %s", field->name,
              text, wanted);
  return FALSE;
}

static gboolean in_range(const PipelineJobField *field, double value)
{
  return isfinite(value) && value >= field->minimum && value <= field->maximum;
}

/* FALSE: the value is none of the field's. */
static gboolean store_value(const PipelineJobField *field, const json_t *value, guint8 *options)
{
  gpointer place = options + field->offset;
  const gchar *text = json_string_value(value);
  switch (field->kind) {
  case PIPELINE_FIELD_COUNT:
    if (!json_is_integer(value) || !in_range(field, (double)json_integer_value(value))) return FALSE;
    *(guint *)place = (guint)json_integer_value(value);
    return TRUE;
  case PIPELINE_FIELD_REAL:
    if (!json_is_number(value) || !in_range(field, json_number_value(value))) return FALSE;
    *(double *)place = json_number_value(value);
    return TRUE;
  case PIPELINE_FIELD_SWITCH:
    if (!json_is_boolean(value)) return FALSE;
    *(gboolean *)place = json_is_true(value);
    return TRUE;
  case PIPELINE_FIELD_CHOICE:
    if (text == NULL || !g_strv_contains(field->choices, text)) return FALSE;
    *(const gchar **)place = text;
    return TRUE;
  case PIPELINE_FIELD_TEXT:
    if (text == NULL) return FALSE;
    *(const gchar **)place = text;
    return TRUE;
  }
  return FALSE;
}

gboolean pipeline_job_fields_read(const PipelineJobField *fields, const json_t *spec, gpointer options, GError **error)
{
  const gchar *name;
  json_t *value;
  json_object_foreach ((json_t *)spec, name, value) {
    if (g_strv_contains(common, name) || json_is_null(value)) continue;
    const PipelineJobField *field = find_field(fields, name);
    if (field == NULL) return refuse_name(fields, name, error);
    if (store_value(field, value, options)) continue;
    char *text = json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY);
    refuse_value(field, text, error);
    free(text);
    return FALSE;
  }
  return TRUE;
}

json_t *pipeline_job_fields_parse(const PipelineJobField *fields, const gchar *name, const gchar *text, GError **error)
{
  const PipelineJobField *field = find_field(fields, name);
  if (field == NULL) {
    refuse_name(fields, name, error);
    return NULL;
  }
  gboolean is_text = field->kind == PIPELINE_FIELD_TEXT || field->kind == PIPELINE_FIELD_CHOICE;
  json_t *value = is_text ? json_string(text) : json_loads(text, JSON_DECODE_ANY, NULL);
  union {
    double real;
    const gchar *text;
    gint whole;
  } place;
  PipelineJobField alone = *field;
  alone.offset = 0;
  if (value != NULL && store_value(&alone, value, (guint8 *)&place)) return value;
  json_decref(value);
  refuse_value(field, text, error);
  return NULL;
}
