/* What `kedge search` shows to people. */
#include <stdio.h>

#include "daemon/command_search_internal.h"

#define SHOWN 10u

static gchar *join_parameters(const json_t *parameters)
{
  GString *text = g_string_new("");
  const char *name;
  json_t *value;
  json_object_foreach ((json_t *)parameters, name, value) {
    g_string_append_printf(text, "%s%s=", text->len > 0 ? " " : "", name);
    if (json_is_string(value))
      g_string_append(text, json_string_value(value));
    else
      g_string_append_printf(text, "%.3g", json_number_value(value));
  }
  return g_string_free(text, FALSE);
}

static void add_row(CommandTable *table, const json_t *entry)
{
  g_autofree gchar *rank = command_text_count(json_object_get(entry, "rank"));
  g_autofree gchar *trial = command_text_count(json_object_get(entry, "trial"));
  g_autofree gchar *loss = command_text_real(json_object_get(entry, "loss"), 4);
  g_autofree gchar *folds = command_text_real(json_object_get(entry, "fold_loss"), 4);
  g_autofree gchar *metric = command_text_real(json_object_get(entry, "metric"), 4);
  g_autofree gchar *error = command_text_real(json_object_get(entry, "standard_error"), 4);
  g_autofree gchar *epochs = command_text_count(json_object_get(entry, "epochs"));
  g_autofree gchar *seconds = command_text_real(json_object_get(entry, "seconds"), 1);
  g_autofree gchar *bytes = command_text_count(json_object_get(entry, "bytes"));
  g_autofree gchar *latency = command_text_real(json_object_get(entry, "latency_us"), 1);
  g_autofree gchar *parameters = join_parameters(json_object_get(entry, "parameters"));
  g_autofree gchar *measured = g_strdup_printf("%s ± %s", metric, error);
  g_autofree gchar *trained = g_strdup_printf("%s %s", epochs, json_string_value(json_object_get(entry, "unit")));
  command_table_add(table, rank, trial, json_string_value(json_object_get(entry, "family")), loss, folds, measured,
                    trained, seconds, bytes, latency, json_is_true(json_object_get(entry, "pareto")) ? "yes" : "",
                    parameters, NULL);
}

/* The first ones, and what else is on the front. */
static void print_board(const json_t *board)
{
  static const gchar *const headers[] = {">rank",    ">trial", "family", ">loss",   ">of folds", ">accuracy or -rmse",
                                         ">trained", ">s",     ">bytes", ">µs/row", "pareto",    "parameters",
                                         NULL};
  CommandTable *table = command_table_new(headers);
  for (gsize i = 0; i < json_array_size(board); i++) {
    const json_t *entry = json_array_get(board, i);
    if (i < SHOWN || json_is_true(json_object_get(entry, "pareto"))) add_row(table, entry);
  }
  command_table_print(table);
  if (json_array_size(board) > SHOWN)
    printf("%zu trials have a loss; the first %u and the Pareto front of loss, bytes and latency are shown\n",
           json_array_size(board), SHOWN);
}

static void print_model(const json_t *report)
{
  const json_t *model = json_object_get(report, "model"), *members = json_object_get(model, "members");
  g_autofree gchar *bytes = command_text_count(json_object_get(model, "bytes"));
  g_autofree gchar *latency = command_text_real(json_object_get(model, "latency_us"), 1);
  GString *which = g_string_new("");
  for (gsize i = 0; i < json_array_size(members); i++)
    g_string_append_printf(which, "%s%" JSON_INTEGER_FORMAT, i > 0 ? ", " : "",
                           json_integer_value(json_array_get(members, i)));
  printf("%s: ", json_string_value(json_object_get(report, "output")));
  if (json_array_size(members) > 1)
    printf("the mean of %zu models, trials %s, %s bytes, %s µs/row", json_array_size(members), which->str, bytes,
           latency);
  else
    printf("the model of rank 1");
  printf("%s; the trials are in %s\n",
         json_is_true(json_object_get(report, "refit")) ? ", fitted again to training and validation rows together"
                                                        : "",
         json_string_value(json_object_get(report, "folder")));
  g_string_free(which, TRUE);
}

void command_search_print(json_t *report)
{
  g_autofree gchar *train = command_text_count(json_object_get(report, "rows_train"));
  g_autofree gchar *validation = command_text_count(json_object_get(report, "rows_validation"));
  g_autofree gchar *trials = command_text_count(json_object_get(report, "trials"));
  g_autofree gchar *failed = command_text_count(json_object_get(report, "failed"));
  g_autofree gchar *seconds = command_text_real(json_object_get(report, "seconds"), 1);
  const json_t *test = json_object_get(report, "test");
  const json_t *folds = json_object_get(report, "folds");
  printf("%s trials (%s failed) in %s s, trained on %s rows, compared on %s validation rows", trials, failed, seconds,
         train, validation);
  if (json_integer_value(folds) > 0)
    printf("; the best %" JSON_INTEGER_FORMAT " by %" JSON_INTEGER_FORMAT " folds of both",
           json_integer_value(json_object_get(report, "finalists")), json_integer_value(folds));
  printf("\n");
  print_board(json_object_get(report, "leaderboard"));
  gsize n_failures = json_array_size(json_object_get(report, "failures"));
  for (gsize i = 0; i < MIN(n_failures, 3); i++) {
    const json_t *failure = json_array_get(json_object_get(report, "failures"), i);
    printf("trial %" JSON_INTEGER_FORMAT " (%s) failed: %s\n", json_integer_value(json_object_get(failure, "trial")),
           json_string_value(json_object_get(failure, "family")),
           json_string_value(json_object_get(failure, "reason")));
  }
  if (n_failures > 3) printf("… and %zu more (--json has all)\n", n_failures - 3);
  if (test != NULL) {
    gboolean regression = json_object_get(test, "rmse") != NULL;
    g_autofree gchar *rows = command_text_count(json_object_get(test, "rows"));
    g_autofree gchar *first = command_text_real(json_object_get(test, regression ? "rmse" : "accuracy"), 4);
    g_autofree gchar *second = command_text_real(json_object_get(test, regression ? "mae" : "auc"), 4);
    printf("on %s test rows, which no trial saw: %s %s, %s %s\n", rows, regression ? "rmse" : "accuracy", first,
           regression ? "mean absolute error" : "AUC", second);
  }
  print_model(report);
}
