/* Transformations of columns that are learnt from training rows and live in the ONNX graph: what a network is trained
 * on is what the graph computes, so that training and serving cannot differ.
 *
 *     g_autoptr(PipelinePlan) plan = pipeline_plan_parse("age=robust,price=log+standard,city=target", &error);
 *     pipeline_plan_complete(plan, schema, PIPELINE_PLAN_STANDARD, &error); // of the columns not named
 *     PipelinePrepared *prepared = pipeline_plan_fit(plan, &data, &error);
 *     pipeline_prepared_emit(prepared, graph, &error);                // inputs, nodes; value "kedge.features"
 *
 * A plan is a list of chains. A chain begins with a column, or with two: numbers are multiplied, texts crossed into
 * pairs. Then come steps, each a row of pipeline_transformations: learnt from what the steps before it make of the
 * training rows, run by the executor. To add one: a row and its two functions. */
#pragma once

#include "drift/schema.h"
#include "drift/table.h"
#include "onnx/graph.h"
#include "pipeline/error.h"
#include "pipeline/graph_prefix.h"
#include "pipeline/transform_table.h"

G_BEGIN_DECLS

/* --- plans -------------------------------------------------------------------------------------------------------- */

typedef struct {
  const PipelineTransformation *transformation;
  double parameter; /* NaN: it takes none */
} PipelineStep;

typedef struct {
  gchar *columns[2]; /* owned; the second NULL for a single column */
  GArray *steps;     /* of PipelineStep; empty: the column is dropped */
} PipelineChain;

typedef struct {
  GPtrArray *chains; /* of PipelineChain*, owned */
} PipelinePlan;

PipelinePlan *pipeline_plan_new(void);
PipelinePlan *pipeline_plan_copy(const PipelinePlan *plan);
void pipeline_plan_free(PipelinePlan *plan);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(PipelinePlan, pipeline_plan_free)
/* "COLUMN=STEP[:PARAMETER][+STEP…],…", "A*B=…" for two columns, "drop" for none; or the JSON that
 * pipeline_plan_format writes (its first letter is "{"). Several chains may begin with one column. INVALID says what is
 * wrong and what can be written. */
PipelinePlan *pipeline_plan_parse(const gchar *text, GError **error);
/* {"transform": [{"columns": ["age"], "steps": ["mean", "winsorise:0.01", "standard"]}, …]}; new. */
gchar *pipeline_plan_format(const PipelinePlan *plan);
gchar *pipeline_chain_format(const PipelineChain *chain); /* "age=mean+standard"; new */
/* Parses "STEP[:PARAMETER]+…" ("drop": none) for columns a and b (or NULL). */
PipelineChain *pipeline_chain_new(const gchar *a, const gchar *b, const gchar *steps, GError **error);
void pipeline_chain_free(PipelineChain *chain);
/* Adds a chain for every input feature that begins none: "one-hot" for texts and, for numbers, those steps: of networks
 * PIPELINE_PLAN_STANDARD, of trees PIPELINE_PLAN_KEEP. Puts "mean" in front of numbers that are not imputed otherwise,
 * and checks columns and kinds (INVALID). Idempotent. */
#define PIPELINE_PLAN_STANDARD "mean+standard"
#define PIPELINE_PLAN_KEEP "keep"
gboolean pipeline_plan_complete(PipelinePlan *plan, const DriftSchema *schema, const gchar *numbers, GError **error);

/* --- fitted ------------------------------------------------------------------------------------------------------- */

/* Borrowed while a call lasts. */
typedef struct {
  const DriftTable *table;
  const DriftSchema *schema;
  const guint64 *rows; /* [n_rows] of the table: the training rows */
  guint64 n_rows;
  const float *targets; /* [table->n_rows]: class or value; NULL: "target" cannot be fitted */
  guint64 seed;         /* of the folds of "target" */
} PipelinePrepareData;

typedef struct {
  const PipelineChain *chain; /* borrowed from the plan */
  GPtrArray *states; /* of PipelineTransformState*, one a step (and first one of the pair, where there is one) */
  GPtrArray *names;  /* of gchar*: the columns it makes */
} PipelineFittedChain;

typedef struct {
  DriftSchema *schema;
  PipelinePlan *plan;
  GPtrArray *chains;  /* of PipelineFittedChain* that make columns, in the order of the columns */
  GPtrArray *names;   /* of gchar*, borrowed from the chains: every column */
  gboolean *constant; /* [names->len]: the column never varies in the training rows */
  /* Columns whose training rows are trained on other values than the graph's ("target": out-of-fold ones). */
  GArray *own_columns; /* of guint */
  float *own_values;   /* [own_columns->len][n_rows], by the training rows in their order */
  guint64 n_rows;
} PipelinePrepared;

/* The plan must be complete. DATA names column and row. */
PipelinePrepared *pipeline_plan_fit(const PipelinePlan *plan, const PipelinePrepareData *data, GError **error);
/* Completes a copy of the plan and fits it. */
PipelinePrepared *pipeline_plan_fit_copy(const PipelinePlan *plan, const PipelinePrepareData *data,
                                         const gchar *numbers, GError **error);
void pipeline_prepared_free(PipelinePrepared *prepared);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(PipelinePrepared, pipeline_prepared_free)
/* Adds inputs (as pipeline/model.h has them; seconds for "calendar" are int64,
 * missing ones the least of them) and nodes that end in the value
 * "kedge.features" [N, names->len]; the graph's opsets must be at least 17 and, of ai.onnx.ml, 2. */
#define PIPELINE_PREPARED_FEATURES "kedge.features"
void pipeline_prepared_emit(const PipelinePrepared *prepared, OnnxGraph *graph);
/* The same as the preprocessing of a new model: also checks names and number of columns (UNSUPPORTED), sets the
 * metadata PIPELINE_PLAN_KEY and fills `prefix`, which the caller clears. */
#define PIPELINE_PLAN_KEY "kedge.transform" /* metadata: the plan of transformations, where it is not the default */
gboolean pipeline_prepared_add_prefix(const PipelinePrepared *prepared, OnnxGraph *graph, PipelineGraphPrefix *prefix,
                                      GError **error);
/* The plan as it was fitted, as pipeline_plan_format writes it; new. */
gchar *pipeline_prepared_format_plan(const PipelinePrepared *prepared);
/* Replaces the training rows' own values in matrix [*, names->len] (rows: those that were fitted on). */
void pipeline_prepared_overwrite(const PipelinePrepared *prepared, const guint64 *rows, float *matrix);

G_END_DECLS
