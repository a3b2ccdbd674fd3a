/* Rows times rounds a CPU second of boosting: by pipeline_train, from a table to ONNX bytes, or by XGBoost's bare C
 * API, from a matrix to a booster; the same rows, parameters and rounds.
 *
 *     tree_bench kedge|bare
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <xgboost/c_api.h>

#include "pipeline/model_spec.h"
#include "pipeline/trainer.h"
#include "pipeline/trainer_random.h"

#define ROWS 20000u
#define COLUMNS 20u
#define ROUNDS 300u

static double cpu_seconds(void)
{
  struct timespec now;
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
  return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

static void fail(const char *message)
{
  fprintf(stderr, "%s\n", message);
  exit(1);
}

static void make_rows(float *x, float *y)
{
  PipelineRandom random;
  pipeline_random_seed(&random, 1);
  for (guint i = 0; i < ROWS; i++) {
    float *row = x + (gsize)i * COLUMNS;
    for (guint j = 0; j < COLUMNS; j++) row[j] = (float)pipeline_random_uniform(&random);
    y[i] = row[0] + sinf(6 * row[1]) * row[2] + .3f * (float)pipeline_random_uniform(&random) > .7f;
  }
}

static double run_kedge(const float *x, const float *y)
{
  g_autoptr(DriftTable) table = drift_table_new();
  for (guint j = 0; j <= COLUMNS; j++) {
    g_autofree gchar *name = j < COLUMNS ? g_strdup_printf("x%u", j) : g_strdup("y");
    DriftColumn *column = drift_table_add_column(table, name, DRIFT_NUMERIC);
    for (guint i = 0; i < ROWS; i++)
      drift_column_append_number(column, j < COLUMNS ? (double)x[(gsize)i * COLUMNS + j] : (double)y[i]);
  }
  table->n_rows = ROWS;
  g_autoptr(GError) error = NULL;
  g_autoptr(DriftSchema) schema = pipeline_model_spec_infer(table, "y", NULL, NULL, &error);
  g_autofree gchar *architecture = g_strdup_printf("trees:rounds=%u", ROUNDS);
  PipelineTrainOptions options;
  PipelineTrainResult result = {0};
  pipeline_train_options_init(&options);
  options.architecture = architecture;
  options.validation_fraction = 0;
  double start = cpu_seconds();
  if (schema == NULL || !pipeline_train(table, schema, &options, NULL, NULL, &result, &error)) fail(error->message);
  double seconds = cpu_seconds() - start;
  pipeline_train_result_clear(&result);
  return seconds;
}

static double run_bare(const float *x, const float *y)
{
  static const char *const parameters[][2] = {{"objective", "binary:logistic"},
                                              {"base_score", "0.5"},
                                              {"nthread", "1"},
                                              {"tree_method", "hist"},
                                              {"max_depth", "6"},
                                              {"eta", "0.1"},
                                              {"verbosity", "0"}};
  DMatrixHandle rows;
  BoosterHandle booster;
  double start = cpu_seconds();
  if (XGDMatrixCreateFromMat(x, ROWS, COLUMNS, NAN, &rows) != 0 || XGDMatrixSetFloatInfo(rows, "label", y, ROWS) != 0 ||
      XGBoosterCreate(&rows, 1, &booster) != 0)
    fail(XGBGetLastError());
  for (guint i = 0; i < G_N_ELEMENTS(parameters); i++)
    if (XGBoosterSetParam(booster, parameters[i][0], parameters[i][1]) != 0) fail(XGBGetLastError());
  for (guint round = 0; round < ROUNDS; round++)
    if (XGBoosterUpdateOneIter(booster, (int)round, rows) != 0) fail(XGBGetLastError());
  double seconds = cpu_seconds() - start;
  XGBoosterFree(booster);
  XGDMatrixFree(rows);
  return seconds;
}

int main(int argc, char **argv)
{
  if (argc != 2 || (strcmp(argv[1], "kedge") != 0 && strcmp(argv[1], "bare") != 0))
    fail("usage: tree_bench kedge|bare");
  g_autofree float *x = g_new(float, ROWS *COLUMNS), *y = g_new(float, ROWS);
  make_rows(x, y);
  double seconds = strcmp(argv[1], "kedge") == 0 ? run_kedge(x, y) : run_bare(x, y);
  printf("%.0f\n", (double)ROWS * ROUNDS / seconds);
  return 0;
}
