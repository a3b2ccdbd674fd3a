/* `kedge drift test`: two files, one answer. */
#include <stdio.h>
#include <string.h>

#include "daemon/command_data.h"
#include "daemon/drift_test.h"
#include "drift/multivariate.h"
#include "drift/two_sample_method.h"
#include "pipeline/embedding.h"
#include "pipeline/error.h"
#include "pipeline/output_file.h"

extern const Command command_drift_test;

typedef struct {
  gchar *reference, *current, *html;
  gchar *label, *prediction, *score;
  gchar **columns, **embeddings, **methods, **options;
  gint slices;
  gboolean list;
} DriftTestArguments;

static void arguments_clear(DriftTestArguments *arguments)
{
  g_free(arguments->reference);
  g_free(arguments->current);
  g_free(arguments->html);
  g_free(arguments->label);
  g_free(arguments->prediction);
  g_free(arguments->score);
  g_strfreev(arguments->columns);
  g_strfreev(arguments->embeddings);
  g_strfreev(arguments->methods);
  g_strfreev(arguments->options);
}

/* --- printing ----------------------------------------------------------------------------------------------------- */

static gchar *text_short(const json_t *value)
{
  if (json_is_string(value)) return g_strdup(json_string_value(value));
  return json_is_number(value) ? g_strdup_printf("%.4g", json_number_value(value)) : g_strdup("–");
}

static void print_verdicts(const json_t *columns)
{
  CommandTable *table = command_table_new(
      (const gchar *const[]){"column", "kind", "drift", ">effect", ">adjusted p", "test", "remark", NULL});
  gsize index;
  json_t *column;
  json_array_foreach ((json_t *)columns, index, column) {
    const json_t *verdict = json_object_get(column, "verdict");
    g_autofree gchar *effect = text_short(json_object_get(verdict, "effect"));
    g_autofree gchar *p = text_short(json_object_get(verdict, "p_adjusted"));
    const gchar *test = json_string_value(json_object_get(verdict, "test")),
                *undefined = json_string_value(json_object_get(verdict, "undefined"));
    command_table_add(table, json_string_value(json_object_get(column, "column")),
                      json_string_value(json_object_get(column, "kind")),
                      undefined != NULL                                 ? "–"
                      : json_is_true(json_object_get(verdict, "drift")) ? "yes"
                                                                        : "no",
                      effect, p, test ? test : "–",
                      json_is_true(json_object_get(verdict, "quality")) ? "missing, unseen or out of range rose"
                      : undefined != NULL                               ? undefined
                                                                        : "",
                      NULL);
  }
  command_table_print(table);
}

static const gchar *drift_text(const json_t *test)
{
  const json_t *drift = json_object_get(test, "drift");
  if (drift == NULL) return "–";
  return json_is_true(drift) ? "yes" : "no";
}

static void print_tests(const json_t *columns)
{
  CommandTable *table = command_table_new(
      (const gchar *const[]){"column", "method", ">statistic", ">p", ">adjusted p", "drift", "p from", NULL});
  gsize index, i;
  json_t *column, *test;
  json_array_foreach ((json_t *)columns, index, column) {
    json_array_foreach (json_object_get(column, "tests"), i, test) {
      g_autofree gchar *statistic = text_short(json_object_get(test, "statistic")),
                       *p = text_short(json_object_get(test, "p")),
                       *adjusted = text_short(json_object_get(test, "p_adjusted"));
      const gchar *undefined = json_string_value(json_object_get(test, "undefined")),
                  *from = json_string_value(json_object_get(test, "p_from"));
      command_table_add(table, json_string_value(json_object_get(column, "column")),
                        json_string_value(json_object_get(test, "method")), statistic, p, adjusted, drift_text(test),
                        undefined != NULL ? undefined
                        : from != NULL    ? from
                                          : "–",
                        NULL);
    }
  }
  command_table_print(table);
}

static void print_list(const gchar *title, const json_t *entries, const gchar *none)
{
  gsize i;
  json_t *entry;
  printf("\n%s\n", title);
  json_array_foreach ((json_t *)entries, i, entry)
    printf("  %2zu. %s\n", i + 1, json_string_value(json_object_get(entry, "text")));
  if (json_array_size(entries) == 0) printf("  %s\n", none);
}

static void print_slices(const json_t *report)
{
  const json_t *slices = json_object_get(report, "slices"), *mean = json_object_get(slices, "mean_loss");
  if (slices == NULL) return;
  for (const DriftTestSliceList *list = drift_test_slice_lists; list->name != NULL; list++) {
    const json_t *entries = json_object_get(slices, list->name);
    if (entries == NULL) continue;
    g_autofree gchar *remark = drift_test_slice_remark(slices, list->name);
    g_autofree gchar *title = g_strdup_printf("%s (%s)", list->title, remark);
    print_list(title, entries, "none");
  }
  if (mean != NULL) {
    g_autofree gchar *before = text_short(json_object_get(mean, "reference")),
                     *now = text_short(json_object_get(mean, "current"));
    printf("\nmean loss (%s): reference %s (n = %" JSON_INTEGER_FORMAT "), current %s (n = %" JSON_INTEGER_FORMAT ")\n",
           json_string_value(json_object_get(slices, "loss_is")), before,
           json_integer_value(json_object_get(mean, "n_reference")), now,
           json_integer_value(json_object_get(mean, "n_current")));
  }
  json_int_t drifted = json_integer_value(json_object_get(report, "dependences_drifted"));
  printf("\n%" JSON_INTEGER_FORMAT " of %" JSON_INTEGER_FORMAT
         " pairs of columns depend on each other otherwise than in the reference%s\n",
         drifted, json_integer_value(json_object_get(slices, "pairs")), drifted > 0 ? ":" : ".");
  gsize i;
  json_t *entry;
  json_array_foreach (json_object_get(report, "dependences"), i, entry)
    if (json_is_true(json_object_get(entry, "drift")))
      printf("  %2zu. %s\n", i + 1, json_string_value(json_object_get(entry, "text")));
}

/* Whole rows: embeddings, or numeric columns together. */
static void print_groups(const json_t *groups)
{
  CommandTable *table = command_table_new((const gchar *const[]){"rows of", ">columns", "method", ">statistic", ">p",
                                                                 ">adjusted p", "drift", "p from", NULL});
  gsize index, i;
  json_t *group, *test;
  json_array_foreach ((json_t *)groups, index, group) {
    json_array_foreach (json_object_get(group, "tests"), i, test) {
      g_autofree gchar *columns = command_text_count(json_object_get(group, "columns")),
                       *statistic = text_short(json_object_get(test, "statistic")),
                       *p = text_short(json_object_get(test, "p")),
                       *adjusted = text_short(json_object_get(test, "p_adjusted"));
      const gchar *undefined = json_string_value(json_object_get(test, "undefined")),
                  *from = json_string_value(json_object_get(test, "p_from"));
      command_table_add(table, json_string_value(json_object_get(group, "group")), columns,
                        json_string_value(json_object_get(test, "method")), statistic, p, adjusted, drift_text(test),
                        undefined != NULL ? undefined
                        : from != NULL    ? from
                                          : "–",
                        NULL);
    }
  }
  command_table_print(table);
  json_array_foreach ((json_t *)groups, index, group) {
    json_int_t left_out[] = {json_integer_value(json_object_get(group, "left_out_reference")),
                             json_integer_value(json_object_get(group, "left_out_current"))};
    if (left_out[0] + left_out[1] > 0)
      printf("%s: rows with missing values were left out: %" JSON_INTEGER_FORMAT
             " of the reference, %" JSON_INTEGER_FORMAT " of the current file\n",
             json_string_value(json_object_get(group, "group")), left_out[0], left_out[1]);
  }
}

static gboolean has_tests(const json_t *columns)
{
  gsize index;
  json_t *column;
  json_array_foreach ((json_t *)columns, index, column)
    if (json_array_size(json_object_get(column, "tests")) > 0) return TRUE;
  return FALSE;
}

static const gchar *answer_of(const json_t *report)
{
  const json_t *drift = json_object_get(report, "drift");
  gboolean quality = json_is_true(json_object_get(report, "quality"));
  if (json_is_true(drift)) return "Drift."; /* the table has the quality */
  if (quality && json_is_null(drift))
    return "No test of the known values could be made, and missing, unseen or out-of-range values rose.";
  if (quality) return "No drift of the known values, but missing, unseen or out-of-range values rose.";
  return json_is_null(drift) ? "No answer: no test could be made." : "No drift.";
}

/* What the answer is not about. */
static void print_untested(const json_t *names)
{
  gsize i;
  json_t *name;
  if (json_array_size(names) == 0) return;
  printf("\nno test is defined on: ");
  json_array_foreach ((json_t *)names, i, name) printf("%s%s", i > 0 ? ", " : "", json_string_value(name));
  putchar('\n');
}

static void print_report(json_t *report)
{
  const json_t *columns = json_object_get(report, "columns"), *groups = json_object_get(report, "groups");
  if (json_is_true(json_object_get(report, "auto")) && json_array_size(columns) > 0) {
    print_verdicts(columns);
    putchar('\n');
  }
  if (has_tests(columns)) print_tests(columns);
  if (has_tests(columns) && groups != NULL) putchar('\n');
  if (groups != NULL) print_groups(groups);
  print_slices(report);
  gsize ignored = json_array_size(json_object_get(report, "ignored_columns"));
  g_autofree gchar *level = text_short(json_object_get(report, "level"));
  if (ignored > 0)
    printf("\n%zu column%s of the current file %s not in the reference and %s left out.\n", ignored,
           ignored == 1 ? "" : "s", ignored == 1 ? "is" : "are", ignored == 1 ? "was" : "were");
  const gchar *adjust = json_string_value(json_object_get(report, "adjust"));
  gboolean two = json_is_true(json_object_get(report, "auto")) && strcmp(adjust, "bh") != 0;
  print_untested(json_object_get(report, "untested"));
  printf("\n%s (level %s, correction %s%s)\n", answer_of(report), level, two ? "bh, of chosen methods " : "", adjust);
}

static void print_methods(void)
{
  printf("auto\n    the verdict of the daemon's windows: corrected p-values and a minimum effect\n");
  for (const gchar *const *line = drift_test_option_help; *line != NULL; line++) printf("      %s\n", *line);
  for (const DriftTwoSampleMethod *method = drift_two_sample_methods; method->name != NULL; method++) {
    printf("%s (%s)\n    %s\n", method->name,
           method->numeric && method->categorical ? "numbers, categories"
           : method->numeric                      ? "numbers"
                                                  : "categories",
           method->summary);
    for (const gchar *const *line = method->option_help; *line != NULL; line++) printf("      %s\n", *line);
  }
  for (const DriftMultivariateMethod *method = drift_multivariate_methods; method->name != NULL; method++) {
    gboolean is_taken = drift_two_sample_find(method->name) != NULL; /* without --embedding, by single columns */
    printf("%s%s (rows of numbers, embeddings)\n    %s\n", is_taken ? "multivariate-" : "", method->name,
           method->summary);
  }
  printf("of all methods of rows\n");
  for (const gchar *const *line = drift_test_rows_option_help; *line != NULL; line++) printf("      %s\n", *line);
}

/* --- running ------------------------------------------------------------------------------------------------------ */

/* The embeddings' columns of JSON arrays become columns of their elements. */
static DriftTable *read_side(const gchar *path, gchar **embeddings, GError **error)
{
  g_autoptr(DriftTable) table = command_read_table(path, error);
  if (table == NULL) return NULL;
  for (; embeddings != NULL && *embeddings != NULL; embeddings++)
    if (!pipeline_embedding_expand(table, *embeddings, path, error)) return NULL;
  return g_steal_pointer(&table);
}

static json_t *run_request(const DriftTestArguments *arguments, GHashTable *options, GError **error)
{
  static const gchar *const of_array[] = {"x", NULL};
  g_autoptr(DriftTable) reference = read_side(arguments->reference, arguments->embeddings, error);
  g_autoptr(DriftTable) current =
      reference != NULL ? read_side(arguments->current, arguments->embeddings, error) : NULL;
  if (current == NULL) return NULL;
  drift_test_match_kinds(reference, current);
  /* An array of two dimensions is vectors, unless single columns of it are asked for. */
  gboolean is_array = g_str_has_suffix(arguments->reference, ".npy") && arguments->columns == NULL &&
                      arguments->embeddings == NULL && drift_table_get_column(reference, "x[0]") != NULL;
  const DriftTestRequest request = {.reference = reference,
                                    .current = current,
                                    .reference_name = arguments->reference,
                                    .current_name = arguments->current,
                                    .columns = (const gchar *const *)arguments->columns,
                                    .embeddings = is_array ? of_array : (const gchar *const *)arguments->embeddings,
                                    .methods = (const gchar *const *)arguments->methods,
                                    .options = options,
                                    .timeline = arguments->html != NULL,
                                    .slices = (guint)arguments->slices,
                                    .label = arguments->label,
                                    .prediction = arguments->prediction,
                                    .score = arguments->score};
  json_t *report = drift_test_report(&request, error);
  if (report == NULL || arguments->html == NULL) return report;
  g_autofree gchar *page = drift_test_html(report);
  if (pipeline_output_file_write(arguments->html, page, strlen(page), error)) return report;
  json_decref(report);
  return NULL;
}

/* 3 where something is amiss; 1 where nothing could be tested, but for who asks for no p. */
static int status_of(const json_t *report, GHashTable *options)
{
  const json_t *drift = json_object_get(report, "drift");
  if (json_is_true(drift) || json_is_true(json_object_get(report, "quality"))) return COMMAND_NO;
  gboolean wants_no_p = g_strcmp0(g_hash_table_lookup(options, "permutations"), "0") == 0;
  return json_is_null(drift) && !wants_no_p ? COMMAND_FAILED : COMMAND_DONE;
}

static int run_drift_test(int argc, char **argv)
{
  DriftTestArguments a = {.slices = 10};
  const GOptionEntry entries[] = {
      {"reference", 0, 0, G_OPTION_ARG_FILENAME, &a.reference, "CSV with a header, or .npy: what is normal", "R.csv"},
      {"current", 0, 0, G_OPTION_ARG_FILENAME, &a.current,
       "CSV with the rows in question, or .npy; \"-\": CSV of standard input", "C.csv"},
      {"column", 0, 0, G_OPTION_ARG_STRING_ARRAY, &a.columns, "only this column (repeat for more)", "X"},
      {"embedding", 0, 0, G_OPTION_ARG_STRING_ARRAY, &a.embeddings,
       "vectors: columns NAME[0], NAME[1], …, or one of JSON arrays (repeat for more)", "NAME"},
      {"method", 0, 0, G_OPTION_ARG_STRING_ARRAY, &a.methods, "auto (default) or one that --methods lists", "M"},
      {"option", 0, 0, G_OPTION_ARG_STRING_ARRAY, &a.options, "an option of the command or of a method", "k=v"},
      {"slices", 0, 0, G_OPTION_ARG_INT, &a.slices, "auto: list so many worst slices of a kind (10; 0: none)", "N"},
      {"label", 0, 0, G_OPTION_ARG_STRING, &a.label, "auto: also list slices by the loss against this column", "L"},
      {"prediction", 0, 0, G_OPTION_ARG_STRING, &a.prediction, "with --label: the column of predictions", "P"},
      {"score", 0, 0, G_OPTION_ARG_STRING, &a.score, "with --label of 0 and 1: the column of probabilities of 1", "S"},
      {"html", 0, 0, G_OPTION_ARG_FILENAME, &a.html, "also write a self-contained page", "F"},
      {"methods", 0, 0, G_OPTION_ARG_NONE, &a.list, "list the methods and their options", NULL},
      G_OPTION_ENTRY_NULL};
  CommandCommon common;
  const gchar *bad = NULL;
  g_autoptr(GError) error = NULL;
  if (!command_parse(&command_drift_test, &argc, &argv, entries, &common)) return COMMAND_USAGE;
  g_autoptr(GHashTable) options = command_parse_pairs(a.options, &bad);
  int status;
  if (a.list) {
    print_methods();
    command_common_clear(&common);
    status = COMMAND_DONE;
  } else if (options == NULL) {
    status = command_usage(&common, "--option %s: write key=value", bad);
  } else if (argc != 1 || a.reference == NULL || a.current == NULL) {
    status = command_usage(&common, "give --reference and --current");
  } else if (strcmp(a.reference, "-") == 0 && strcmp(a.current, "-") == 0) {
    status = command_usage(&common, "only one of the files can be \"-\"");
  } else if (a.slices < 0 || a.slices > 1000) {
    status = command_usage(&common, "--slices %d: from 0 to 1000", a.slices);
  } else if ((a.label != NULL) != ((a.prediction != NULL) != (a.score != NULL))) {
    status = command_usage(&common, "--label goes with one of --prediction and --score, and they with it");
  } else {
    json_t *report = run_request(&a, options, &error);
    int answer = status_of(report, options);
    gboolean is_usage = g_error_matches(error, PIPELINE_ERROR, PIPELINE_ERROR_INVALID) ||
                        g_error_matches(error, DRIFT_ERROR, DRIFT_ERROR_INVALID);
    status =
        is_usage ? command_usage(&common, "%s", error->message) : command_report(&common, report, error, print_report);
    if (status == COMMAND_DONE) status = answer;
  }
  arguments_clear(&a);
  return status;
}

const Command command_drift_test = {
    .name = "drift test",
    .arguments = "--reference R.csv --current C.csv [--column X]... [--embedding NAME]... [--method M]... "
                 "[--option k=v]... [--slices N] [--label L (--prediction P | --score S)] [--html F]",
    .summary = "tell whether the current rows come from the reference's law; exit status 3: drift, 1: no answer",
    .help = "Without --method the verdict is that of the daemon's windows: drift needs an adjusted p-value at or below "
            "the level and an effect at or above the minimum, so that neither large files alarm on trifles nor small "
            "ones on noise. A rise of missing, unseen or out-of-range values is no drift of the known ones, but is "
            "said and "
            "gives exit status 3 too. With --method the chosen tests are corrected over the columns and decide alone. "
            "Missing "
            "cells are left out and counted; columns on which no test is defined are named, and where there is no "
            "other the "
            "answer is none: null in JSON, exit status 1. Slices are the rows that meet a condition on one column or "
            "on each of "
            "two; a pair "
            "of columns that depend on each other otherwise than in the reference is drift too, at a quarter of the "
            "level. Methods of rows (mmd, mmd-features, multivariate-energy, hotelling, lsdd, "
            "classifier, mahalanobis, pca) see the numeric columns together, or with --embedding each embedding, which "
            "is then no longer tested element by element; \"energy\" is of rows where there is an embedding. An array "
            "of two dimensions (.npy) is the embedding x, one of one dimension the column x.",
    .run = run_drift_test};
