/* What command_search.c (the command), command_search_trial.c (its processes), command_search_print.c share. */
#pragma once

#include "daemon/command_data.h"
#include "pipeline/search.h"

G_BEGIN_DECLS

/* Which rows a search has: what its processes are told. Texts are owned. */
typedef struct {
  gchar *data, *label, *exclude, *positive, *split;
  gchar *schema; /* of the model that the rows are of (pipeline/model_spec.h), a job's; NULL: as the rows look */
  double validation, test;
  gint64 seed;
} SearchTask;
void command_search_task_clear(SearchTask *task);
json_t *command_search_task_format(const SearchTask *task);
gboolean command_search_task_parse(const json_t *json, SearchTask *task, GError **error);

/* The data of a task, read. */
typedef struct {
  DriftSchema *schema;
  PipelineSplit split;
  PipelineSearchRows rows;
} SearchWorld;
/* A share of validation rows that is 0 becomes the usual one. */
gboolean command_search_world_read(SearchTask *task, SearchWorld *world, GError **error);
void command_search_world_clear(SearchWorld *world);

void command_search_print(json_t *report);

G_END_DECLS
