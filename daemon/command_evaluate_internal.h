/* What command_evaluate.c and command_evaluate_report.c share. */
#pragma once

#include "daemon/command_data.h"
#include "pipeline/evaluate.h"
#include "pipeline/evaluate_detail.h"

G_BEGIN_DECLS

/* New; NaN is null: undefined or not measured. */
json_t *command_evaluate_describe(const PipelineEvaluation *evaluation, const PipelineEvaluationDetail *detail,
                                  const DriftSchema *schema);
/* Scalars as a table, then the classes. */
void command_evaluate_print(json_t *report);
/* The same as one page with a reliability diagram. */
gboolean command_evaluate_write_html(json_t *report, const gchar *path, GError **error);

G_END_DECLS
