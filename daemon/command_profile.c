/* `kedge profile`: what a data set looks like, and what another one violates. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/command_data.h"
#include "daemon/profile_json.h"
#include "pipeline/error.h"

extern const Command command_profile;

static DriftProfile *read_profile(const gchar *path, GError **error)
{
  g_autofree gchar *text = NULL;
  gsize length;
  g_autoptr(GError) failure = NULL;
  if (!g_file_get_contents(path, &text, &length, error)) return NULL;
  DriftProfile *profile = profile_from_text(text, length, &failure);
  if (profile == NULL) {
    gboolean has_line = g_ascii_isdigit(*failure->message);
    g_propagate_prefixed_error(error, g_steal_pointer(&failure), has_line ? "%s:" : "%s: ", path);
  }
  return profile;
}

static json_t *violations_to_json(const GPtrArray *violations)
{
  json_t *list = json_array();
  for (guint i = 0; i < violations->len; i++) {
    const DriftViolation *violation = violations->pdata[i];
    json_t *json = json_pack("{s:s, s:s?, s:I}", "kind", drift_violation_name(violation->kind), "column",
                             violation->column, "count", (json_int_t)violation->count);
    if (violation->row >= 0) json_object_set_new(json, "row", json_integer((json_int_t)violation->row + 1));
    if (violation->example != NULL) json_object_set_new(json, "example", json_string(violation->example));
    json_array_append_new(list, json);
  }
  return list;
}

/* --- printing ----------------------------------------------------------------------------------------------------- */

static gchar *share_text(const json_t *column)
{
  double values = json_number_value(json_object_get(column, "values"));
  double missing = json_number_value(json_object_get(column, "missing"));
  return values + missing > 0 ? g_strdup_printf("%.2f %%", 100 * missing / (values + missing)) : g_strdup("–");
}

/* "0 … 12.5, whole" or "a, b, c, …". */
static gchar *values_text(const json_t *column)
{
  GString *out = g_string_new(NULL);
  json_t *categories = json_object_get(column, "categories"), *count;
  const gchar *name;
  guint shown = 0;
  if (categories == NULL) {
    g_autofree gchar *low = command_text(json_object_get(column, "minimum")),
                     *high = command_text(json_object_get(column, "maximum"));
    g_string_append_printf(out, "%s … %s", low, high);
    if (json_is_true(json_object_get(column, "whole"))) g_string_append(out, ", whole");
  }
  json_object_foreach (categories, name, count) {
    if (shown == 6) g_string_append(out, ", …");
    if (shown++ < 6) g_string_append_printf(out, "%s%s", shown > 1 ? ", " : "", name);
  }
  return g_string_free(out, FALSE);
}

static void print_profile(json_t *report)
{
  CommandTable *table =
      command_table_new((const gchar *const[]){"column", "type", ">missing", ">distinct", "values", "remark", NULL});
  gsize index;
  json_t *column;
  json_array_foreach (json_object_get(report, "columns"), index, column) {
    g_autofree gchar *missing = share_text(column), *values = values_text(column);
    g_autofree gchar *distinct = command_text_count(json_object_get(column, "distinct"));
    command_table_add(table, json_string_value(json_object_get(column, "name")),
                      json_string_value(json_object_get(column, "type")), missing, distinct, values,
                      json_is_true(json_object_get(column, "constant")) ? "constant" : "", NULL);
  }
  command_table_print(table);
  g_autofree gchar *rows = command_text_count(json_object_get(report, "rows")),
                   *duplicates = command_text_count(json_object_get(report, "duplicates"));
  printf("\n%s rows, %s of them equal to an earlier one\n", rows, duplicates);
}

static void print_violations(json_t *report)
{
  const json_t *violations = json_object_get(report, "violations");
  if (json_array_size(violations) == 0) {
    printf("No violations.\n");
    return;
  }
  CommandTable *table =
      command_table_new((const gchar *const[]){"column", "violation", ">count", ">first row", "example", NULL});
  gsize index;
  json_t *violation;
  json_array_foreach ((json_t *)violations, index, violation) {
    const gchar *column = json_string_value(json_object_get(violation, "column"));
    const gchar *example = json_string_value(json_object_get(violation, "example"));
    g_autofree gchar *count = command_text_count(json_object_get(violation, "count")),
                     *row = command_text_count(json_object_get(violation, "row"));
    command_table_add(table, column != NULL ? column : "(rows)", json_string_value(json_object_get(violation, "kind")),
                      count, row, example != NULL ? example : "", NULL);
  }
  command_table_print(table);
}

/* --- running ------------------------------------------------------------------------------------------------------ */

static json_t *check(const DriftTable *table, const gchar *against, GError **error)
{
  g_autoptr(DriftProfile) profile = read_profile(against, error);
  g_autoptr(GPtrArray) violations = profile != NULL ? drift_profile_check(profile, table, error) : NULL;
  if (violations == NULL) return NULL;
  return json_pack("{s:s, s:I, s:o}", "profile", against, "rows", (json_int_t)table->n_rows, "violations",
                   violations_to_json(violations));
}

static json_t *describe(const DriftTable *table, const gchar *output, GError **error)
{
  g_autoptr(DriftProfile) profile = drift_profile_new(table, error);
  if (profile == NULL) return NULL;
  json_t *json = profile_to_json(profile);
  char *text = output != NULL ? json_dumps(json, JSON_INDENT(1) | JSON_REAL_PRECISION(17)) : NULL;
  gboolean written = output == NULL || (text != NULL && g_file_set_contents(output, text, -1, error));
  free(text);
  if (written) return json;
  if (error != NULL && *error == NULL)
    g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_DATA, "the profile cannot be written as JSON");
  json_decref(json);
  return NULL;
}

static int run_profile(int argc, char **argv)
{
  gchar *output = NULL, *against = NULL;
  const GOptionEntry entries[] = {
      {"output", 'o', 0, G_OPTION_ARG_FILENAME, &output, "write the profile as JSON to this file", "P.json"},
      {"against", 0, 0, G_OPTION_ARG_FILENAME, &against, "count what violates this profile instead", "P.json"},
      G_OPTION_ENTRY_NULL};
  CommandCommon common;
  g_autoptr(GError) error = NULL;
  int status;
  if (!command_parse(&command_profile, &argc, &argv, entries, &common)) return COMMAND_USAGE;
  if (argc != 2 || (output != NULL && against != NULL)) {
    status = command_usage(&common, argc != 2 ? "name one data file" : "give -o or --against, not both");
  } else {
    g_autoptr(DriftTable) table = command_read_table(argv[1], &error);
    json_t *report = table == NULL     ? NULL
                     : against != NULL ? check(table, against, &error)
                                       : describe(table, output, &error);
    gboolean violated = json_array_size(json_object_get(report, "violations")) > 0;
    status = command_report(&common, report, error, against != NULL ? print_violations : print_profile);
    if (status == COMMAND_DONE && violated) status = COMMAND_NO;
  }
  g_free(output);
  g_free(against);
  return status;
}

const Command command_profile = {
    .name = "profile",
    .arguments = "D.csv [-o P.json | --against P.json]",
    .summary = "describe a data set column by column, or hold it against a profile; exit status 3: violations",
    .help =
        "The profile holds types, ranges, categories, missing rates, cardinality, constants and duplicates. Edit it "
        "to allow more or less: minimum and maximum, categories, open (unseen categories are allowed), "
        "missing_limit, duplicate_limit. Violations are counted by kind and column, with the first row and an "
        "example.",
    .run = run_profile};
