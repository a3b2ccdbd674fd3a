/* The options of a job kind as one table: it reads the spec, refuses what is of another type, out of range or not
 * known, and is what `kedge job start` takes. */
#pragma once

#include <jansson.h>

#include "pipeline/error.h"

G_BEGIN_DECLS

typedef enum {
  PIPELINE_FIELD_COUNT,  /* guint: a whole number of [minimum, maximum] */
  PIPELINE_FIELD_REAL,   /* double of [minimum, maximum] */
  PIPELINE_FIELD_SWITCH, /* gboolean */
  PIPELINE_FIELD_TEXT,   /* const gchar*, borrowed from the spec */
  PIPELINE_FIELD_CHOICE  /* the same, one of `choices` */
} PipelineJobFieldKind;

typedef struct _PipelineJobField PipelineJobField;
struct _PipelineJobField {
  const gchar *name;
  PipelineJobFieldKind kind;
  gsize offset; /* of the value in the kind's options */
  double minimum, maximum;
  const gchar *const *choices; /* NULL-terminated */
  const gchar *help;
};

/* Choices that kinds share: of a ball around a row ("inf", "2"), of its radius ("sd", "absolute"), of how far numbers
 * may move
 * ("data", "none"). */
extern const gchar *const pipeline_job_field_norms[], *const pipeline_job_field_units[],
                                                          *const pipeline_job_field_ranges[];

/* Fills the options (defaults are the caller's) by the spec's members; fields ends with name NULL. Members that every
 * kind knows (model, data, from, …: pipeline/job_kinds.h) are left alone. INVALID names the member, what it is and what
 * it may be; a member that is in no table is refused, with the names that are. */
gboolean pipeline_job_fields_read(const PipelineJobField *fields, const json_t *spec, gpointer options, GError **error);
/* A text as the member's value, as it is written on a command line: "0.5", "true", "pgd". New reference; NULL: INVALID.
 */
json_t *pipeline_job_fields_parse(const PipelineJobField *fields, const gchar *name, const gchar *text, GError **error);

G_END_DECLS
