/* `kedge profile`: what a data set looks like, and what another one violates. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/command_data.h"
#include "daemon/command_store.h"
#include "daemon/profile_html.h"
#include "daemon/profile_json.h"
#include "daemon/profile_traffic.h"
#include "drift/accumulator_profile.h"
#include "pipeline/csv.h"
#include "pipeline/error.h"
#include "pipeline/json_lines.h"
#include "pipeline/npy.h"
#include "pipeline/output_file.h"

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

typedef struct {
  gchar *output, *against, *format, *model, *from, *to, *html;
} ProfileArguments;

static void arguments_clear(ProfileArguments *arguments)
{
  g_free(arguments->output);
  g_free(arguments->against);
  g_free(arguments->format);
  g_free(arguments->model);
  g_free(arguments->from);
  g_free(arguments->to);
  g_free(arguments->html);
}

/* What is looked at: a table, or stored traffic. */
typedef struct {
  DriftTable *table;
  ProfileTraffic traffic;
} Subject;

static void subject_clear(Subject *subject)
{
  g_clear_pointer(&subject->table, drift_table_free);
  profile_traffic_clear(&subject->traffic);
}

/* Microseconds of an ISO 8601 time, of UTC where it names no zone; `fallback` for NULL. */
static gboolean parse_time(const gchar *option, const gchar *text, gint64 fallback, gint64 *time, GError **error)
{
  *time = fallback;
  if (text == NULL) return TRUE;
  g_autoptr(GTimeZone) utc = g_time_zone_new_utc();
  g_autofree gchar *midnight = strchr(text, 'T') == NULL ? g_strconcat(text, "T00:00:00", NULL) : g_strdup(text);
  g_autoptr(GDateTime) parsed = g_date_time_new_from_iso8601(midnight, utc);
  if (parsed == NULL) {
    g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_INVALID,
                "%s %s: write a date or time such as 2026-11-26 or 2026-11-26T15:00:00Z", option, text);
    return FALSE;
  }
  *time = g_date_time_to_unix(parsed) * G_USEC_PER_SEC + g_date_time_get_microsecond(parsed);
  return TRUE;
}

static gboolean read_traffic(const CommandCommon *common, const ProfileArguments *arguments, Subject *subject,
                             GError **error)
{
  gint64 from, to;
  if (!parse_time("--from", arguments->from, G_MININT64, &from, error) ||
      !parse_time("--to", arguments->to, G_MAXINT64, &to, error))
    return FALSE;
  g_autoptr(RegistryStore) store = command_open_store(common, error);
  g_autoptr(RegistryArtifacts) artifacts = store != NULL ? command_open_artifacts(common, error) : NULL;
  return artifacts != NULL &&
         profile_traffic_read(store, artifacts, arguments->model, from, to, &subject->traffic, error);
}

static const struct {
  const gchar *name;
  DriftTable *(*read)(const gchar *path, GError **error);
} formats[] = {{"csv", pipeline_csv_read}, {"json-lines", pipeline_json_lines_read}, {"npy", pipeline_npy_read_table}};

static DriftTable *read_file(const gchar *path, const gchar *format, GError **error)
{
  if (format == NULL) return command_read_table(path, error);
  for (guint i = 0; i < G_N_ELEMENTS(formats); i++)
    if (strcmp(format, formats[i].name) == 0) return formats[i].read(path, error);
  g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_INVALID, "--format %s: it is one of csv, json-lines, npy", format);
  return NULL;
}

static json_t *check(const Subject *subject, const gchar *against, GError **error)
{
  g_autoptr(DriftProfile) profile = read_profile(against, error);
  if (profile == NULL) return NULL;
  const DriftAccumulator *sum = subject->traffic.sum;
  g_autoptr(GPtrArray) violations =
      sum != NULL ? drift_profile_check_accumulator(profile, sum) : drift_profile_check(profile, subject->table, error);
  if (violations == NULL) return NULL;
  guint64 n_rows = sum != NULL ? drift_accumulator_get_count(sum) : subject->table->n_rows;
  return json_pack("{s:s, s:I, s:o}", "profile", against, "rows", (json_int_t)n_rows, "violations",
                   violations_to_json(violations));
}

static json_t *describe(const Subject *subject, const gchar *output, GError **error)
{
  g_autoptr(DriftProfile) profile = subject->table != NULL ? drift_profile_new(subject->table, error)
                                                           : drift_profile_from_accumulator(subject->traffic.sum);
  if (profile == NULL) return NULL;
  json_t *json = profile_to_json(profile);
  char *text = output != NULL ? json_dumps(json, JSON_INDENT(1) | JSON_REAL_PRECISION(17)) : NULL;
  gboolean written = output == NULL || (text != NULL && pipeline_output_file_write(output, text, strlen(text), error));
  free(text);
  if (written) return json;
  if (error != NULL && *error == NULL)
    g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_DATA, "the profile cannot be written as JSON");
  json_decref(json);
  return NULL;
}

static json_t *time_text(gint64 microseconds)
{
  g_autoptr(GDateTime) time = g_date_time_new_from_unix_utc(microseconds / G_USEC_PER_SEC);
  g_autofree gchar *text = time != NULL ? g_date_time_format(time, "%Y-%m-%dT%H:%M:%SZ") : NULL;
  return text != NULL ? json_string(text) : json_null();
}

static json_t *run_request(const CommandCommon *common, const ProfileArguments *arguments, const gchar *path,
                           GError **error)
{
  Subject subject = {0};
  json_t *report = NULL;
  gboolean read = arguments->model != NULL ? read_traffic(common, arguments, &subject, error)
                                           : (subject.table = read_file(path, arguments->format, error)) != NULL;
  if (read)
    report = arguments->against != NULL ? check(&subject, arguments->against, error)
                                        : describe(&subject, arguments->output, error);
  if (report != NULL && arguments->model != NULL)
    json_object_set_new(report, "traffic",
                        json_pack("{s:s, s:i, s:o, s:o}", "model", arguments->model, "panes",
                                  (int)subject.traffic.n_panes, "first_time", time_text(subject.traffic.first_time),
                                  "last_time", time_text(subject.traffic.last_time)));
  subject_clear(&subject);
  if (report == NULL || arguments->html == NULL || profile_html_write(report, arguments->html, error)) return report;
  json_decref(report);
  return NULL;
}

/* What does not go together, or NULL. */
static const gchar *wrong_use(const ProfileArguments *arguments, int n_files)
{
  if (arguments->output != NULL && arguments->against != NULL) return "give -o or --against, not both";
  if (arguments->model == NULL && (arguments->from != NULL || arguments->to != NULL))
    return "--from and --to are of stored traffic: give --model";
  if (n_files + (arguments->model != NULL) != 1) return "name one data file, or --model";
  if (arguments->model != NULL && arguments->format != NULL) return "--format is of a file";
  return NULL;
}

static int run_profile(int argc, char **argv)
{
  ProfileArguments a = {0};
  const GOptionEntry entries[] = {
      {"output", 'o', 0, G_OPTION_ARG_FILENAME, &a.output, "write the profile as JSON to this file", "P.json"},
      {"against", 0, 0, G_OPTION_ARG_FILENAME, &a.against, "count what violates this profile instead", "P.json"},
      {"format", 0, 0, G_OPTION_ARG_STRING, &a.format, "csv, json-lines or npy (default: by the file's name)", "F"},
      {"model", 0, 0, G_OPTION_ARG_STRING, &a.model, "the stored traffic of this model instead of a file", "NAME"},
      {"from", 0, 0, G_OPTION_ARG_STRING, &a.from, "traffic from this time on, ISO 8601 (UTC)", "TIME"},
      {"to", 0, 0, G_OPTION_ARG_STRING, &a.to, "traffic before this time", "TIME"},
      {"html", 0, 0, G_OPTION_ARG_FILENAME, &a.html, "also write a self-contained page", "F"},
      G_OPTION_ENTRY_NULL};
  CommandCommon common;
  g_autoptr(GError) error = NULL;
  int status;
  if (!command_parse(&command_profile, &argc, &argv, entries, &common)) return COMMAND_USAGE;
  const gchar *wrong = wrong_use(&a, argc - 1);
  if (wrong != NULL) {
    status = command_usage(&common, "%s", wrong);
  } else {
    json_t *report = run_request(&common, &a, argc > 1 ? argv[1] : NULL, &error);
    gboolean violated = json_array_size(json_object_get(report, "violations")) > 0;
    status = g_error_matches(error, PIPELINE_ERROR, PIPELINE_ERROR_INVALID)
                 ? command_usage(&common, "%s", error->message)
                 : command_report(&common, report, error, a.against != NULL ? print_violations : print_profile);
    if (status == COMMAND_DONE && violated) status = COMMAND_NO;
  }
  arguments_clear(&a);
  return status;
}

const Command command_profile = {
    .name = "profile",
    .arguments = "FILE|-|--model NAME [--from T] [--to T] [-o P.json | --against P.json] [--html F]",
    .summary = "describe data or traffic column by column, or hold it against a profile; exit status 3: violations",
    .help =
        "FILE is a CSV with a header, JSON lines (.jsonl, .ndjson; of traffic the members of \"features\", prediction, "
        "score and latency_ms) or a .npy array; - is standard input, a CSV unless --format json-lines. Dates of a CSV "
        "(a "
        "column that begins with one) are seconds since 1970. With --model it "
        "is the traffic that kedged has counted, by whole panes: minimum, maximum, mean, deviation, missing values and "
        "categories of the reference are exact, quartiles lie in the right bin, distinct values and values out of "
        "range are lower bounds, and what only rows show (whole numbers, duplicates) is not known.\n\n"
        "The profile holds types, ranges, categories, missing rates, cardinality, constants and duplicates. Edit it "
        "to allow more or less: minimum and maximum, categories, open (unseen categories are allowed), "
        "missing_limit, duplicate_limit. Violations are counted by kind and column, with the first row and an "
        "example.",
    .run = run_profile};
