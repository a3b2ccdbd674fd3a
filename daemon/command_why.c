/* `kedge why`: an incident in plain words, with its figures. */
#include <stdio.h>

#include "daemon/command_store.h"
#include "daemon/report.h"
#include "registry/decision.h"

extern const Command command_why;

/* Jobs and versions that name the incident. */
static json_t *of_incident(json_t *list, const gchar *incident)
{
  json_t *out = json_array();
  gsize i;
  json_t *item;
  json_array_foreach (list, i, item) {
    const gchar *id = json_string_value(json_object_get(item, "incident"));
    if (g_strcmp0(id, incident) == 0) json_array_insert(out, 0, item);
  }
  json_decref(list);
  return out;
}

/* Changes of the champion to one of these versions. */
static json_t *promotions_of(json_t *history, json_t *versions)
{
  json_t *out = json_array();
  gsize i, j;
  json_t *change, *version;
  json_array_foreach (history, i, change)
    json_array_foreach (versions, j, version) {
      if (json_equal(json_object_get(change, "version"), json_object_get(version, "version")))
        json_array_append(out, change);
    }
  json_decref(history);
  return out;
}

static json_t *verdict_to_json(RegistryStore *store, const gchar *id)
{
  RegistryVerdict *verdict = id != NULL ? registry_verdict_get(store, id, NULL) : NULL;
  if (verdict == NULL) return json_null();
  json_t *body = json_loads(verdict->body, 0, NULL), *panes = json_loads(verdict->panes, JSON_DECODE_ANY, NULL);
  json_t *out = json_pack("{s:s, s:s, s:I, s:o*, s:o*}", "id", verdict->id, "kind", verdict->kind, "number",
                          (json_int_t)verdict->number, "panes", panes, "body", body);
  registry_verdict_free(verdict);
  return out;
}

static json_t *why(RegistryStore *store, const gchar *id, GError **error)
{
  json_t *incident = report_incident(store, id, error);
  if (incident == NULL) return NULL;
  const gchar *model = json_string_value(json_object_get(incident, "model"));
  json_t *jobs = report_jobs(store, model, NULL, 0, error);
  json_t *versions = jobs != NULL ? report_versions(store, model, 0, error) : NULL;
  json_t *history = versions != NULL ? report_history(store, model, "champion", error) : NULL;
  if (history == NULL) {
    json_decref(incident);
    json_decref(jobs);
    json_decref(versions);
    return NULL;
  }
  versions = of_incident(versions, id);
  const gchar *verdict = json_string_value(json_object_get(incident, "verdict"));
  json_object_set_new(incident, "opening_verdict", verdict_to_json(store, verdict));
  json_object_set_new(incident, "jobs", of_incident(jobs, id));
  json_object_set_new(incident, "promotions", promotions_of(history, versions));
  json_object_set_new(incident, "versions", versions);
  return incident;
}

/* --- for people ---------------------------------------------------------------------------------------------- */

static void print_head(json_t *incident)
{
  g_autofree gchar *id = command_text(json_object_get(incident, "id"));
  g_autofree gchar *model = command_text(json_object_get(incident, "model"));
  g_autofree gchar *kind = command_text(json_object_get(incident, "kind"));
  g_autofree gchar *summary = command_text(json_object_get(incident, "summary"));
  g_autofree gchar *opened = command_text_time(json_object_get(incident, "opened_at"));
  g_autofree gchar *closed = command_text_time(json_object_get(incident, "closed_at"));
  g_autofree gchar *state = command_text(json_object_get(incident, "state"));
  g_autofree gchar *verdict = command_text(json_object_get(incident, "verdict"));
  printf("%s: %s of model %s, %s\n", id, kind, model, state);
  printf("  what     %s\n", summary);
  printf("  opened   %s UTC (event time), by verdict %s\n", opened, verdict);
  if (g_str_equal(state, "closed")) printf("  closed   %s UTC (event time)\n", closed);
}

static void print_compact(const gchar *label, json_t *value)
{
  if (value == NULL || json_is_null(value)) return;
  if (!json_is_object(value)) {
    g_autofree gchar *cell = command_text(value);
    printf("  %-8s %s\n", label, cell);
    return;
  }
  g_autoptr(GString) text = g_string_new(NULL);
  const gchar *key;
  json_t *member;
  json_object_foreach (value, key, member) {
    if (json_is_object(member) || json_is_array(member)) continue;
    json_t *time = g_str_has_suffix(key, "time") && json_is_integer(member) ? report_event_time(member) : NULL;
    g_autofree gchar *cell = time != NULL ? command_text_time(time) : command_text(member);
    json_decref(time);
    g_string_append_printf(text, "%s%s %s", text->len > 0 ? ", " : "", key, cell);
  }
  if (text->len > 0) printf("  %-8s %s\n", label, text->str);
}

/* ".788 [.710, .860]" */
static gchar *interval(json_t *object, const gchar *value, const gchar *low, const gchar *high)
{
  g_autofree gchar *middle = command_text_real(json_object_get(object, value), 3);
  g_autofree gchar *from = command_text_real(json_object_get(object, low), 3);
  g_autofree gchar *to = command_text_real(json_object_get(object, high), 3);
  return g_strdup_printf("%s [%s, %s]", middle, from, to);
}

static void print_group_cause(gsize rank, json_t *cause)
{
  g_autofree gchar *metric = command_text(json_object_get(cause, "metric"));
  g_autofree gchar *attribute = command_text(json_object_get(cause, "attribute"));
  g_autofree gchar *group = command_text(json_object_get(cause, "group"));
  g_autofree gchar *other = command_text(json_object_get(cause, "reference_group"));
  g_autofree gchar *value = interval(cause, "value", "low", "high");
  g_autofree gchar *rate = interval(cause, "rate_group", "rate_group_low", "rate_group_high");
  g_autofree gchar *other_rate = interval(cause, "rate_reference", "rate_reference_low", "rate_reference_high");
  g_autofree gchar *n = command_text_count(json_object_get(cause, "n_group"));
  g_autofree gchar *n_other = command_text_count(json_object_get(cause, "n_reference"));
  printf("  %2" G_GSIZE_FORMAT ". %s of %s is %s: rate of %s %s (n = %s) against %s %s (n = %s)\n", rank, metric,
         attribute, value, group, rate, n, other, other_rate, n_other);
}

/* A cause is a sentence of the leader's, or the figures of a bias or feature verdict. */
static void print_cause(gsize rank, json_t *cause)
{
  if (json_object_get(cause, "metric") != NULL) {
    print_group_cause(rank, cause);
    return;
  }
  const gchar *text =
      json_is_string(cause) ? json_string_value(cause) : json_string_value(json_object_get(cause, "text"));
  if (text != NULL) {
    printf("  %2" G_GSIZE_FORMAT ". %s\n", rank, text);
    return;
  }
  g_autofree gchar *feature = command_text(json_object_get(cause, "feature"));
  g_autofree gchar *test = command_text(json_object_get(cause, "test"));
  g_autofree gchar *effect = command_text_real(json_object_get(cause, "effect"), 3);
  const json_t *adjusted = json_object_get(cause, "p_adjusted");
  gboolean underflow = json_is_real(adjusted) && json_real_value(adjusted) == 0;
  g_autofree gchar *p = underflow ? g_strdup("below 1e-300") : command_text(json_object_get(cause, "p_adjusted"));
  g_autofree gchar *n_reference = command_text_count(json_object_get(cause, "n_reference"));
  g_autofree gchar *n_window = command_text_count(json_object_get(cause, "n_window"));
  printf("  %2" G_GSIZE_FORMAT ". %s: %s, effect %s, adjusted p %s (n = %s reference, %s window)\n", rank, feature,
         test, effect, p, n_reference, n_window);
}

static void print_causes(json_t *incident)
{
  json_t *causes = json_object_get(json_object_get(incident, "body"), "causes");
  json_t *from_verdict =
      json_object_get(json_object_get(json_object_get(incident, "opening_verdict"), "body"), "features");
  if (json_array_size(causes) == 0) causes = from_verdict;
  if (json_array_size(causes) == 0) return;
  puts("causes, strongest first");
  for (gsize i = 0; i < MIN(json_array_size(causes), 10); i++) print_cause(i + 1, json_array_get(causes, i));
  if (json_array_size(causes) > 10)
    printf("      … and %" G_GSIZE_FORMAT " more (--json)\n", json_array_size(causes) - 10);
}

/* Slices of the window that opened the incident, each a sentence; the verdict's where the incident keeps none. */
static void print_slices(json_t *incident)
{
  json_t *slices = json_object_get(json_object_get(incident, "body"), "slices"), *slice;
  gsize i;
  if (slices == NULL)
    slices = json_object_get(json_object_get(json_object_get(incident, "opening_verdict"), "body"), "slices");
  if (json_array_size(slices) == 0) return;
  puts("slices, worst first");
  json_array_foreach (slices, i, slice) {
    g_autofree gchar *text = command_text(json_object_get(slice, "text"));
    printf("  %2" G_GSIZE_FORMAT ". %s\n", i + 1, text);
  }
}

static void print_job(json_t *job)
{
  g_autofree gchar *id = command_text(json_object_get(job, "id"));
  g_autofree gchar *kind = command_text(json_object_get(job, "kind"));
  g_autofree gchar *state = command_text(json_object_get(job, "state"));
  json_t *result = json_object_get(job, "result"), *comparison = json_object_get(result, "comparison");
  printf("  %s: %s, %s", id, kind, state);
  if (json_is_integer(json_object_get(result, "version")))
    printf(", made version %" JSON_INTEGER_FORMAT, json_integer_value(json_object_get(result, "version")));
  if (comparison != NULL) {
    g_autofree gchar *champion = command_text_real(json_object_get(comparison, "champion"), 4);
    g_autofree gchar *challenger = command_text_real(json_object_get(comparison, "challenger"), 4);
    g_autofree gchar *low = command_text_real(json_object_get(comparison, "low"), 4);
    g_autofree gchar *high = command_text_real(json_object_get(comparison, "high"), 4);
    g_autofree gchar *n = command_text_count(json_object_get(comparison, "n"));
    printf(": champion %s, challenger %s on the same rows, gain in [%s, %s], n = %s", champion, challenger, low, high,
           n);
  }
  const gchar *failure = json_string_value(json_object_get(job, "error"));
  printf("%s%s\n", failure != NULL ? ": " : "", failure != NULL ? failure : "");
}

/* Stages of chains, each a sentence; measured times are no part of it. */
static void print_stages(json_t *stages)
{
  gsize i;
  json_t *stage;
  if (json_array_size(stages) > 0) puts("stages of chains, oldest first");
  json_array_foreach (stages, i, stage) {
    g_autofree gchar *text = command_text(json_object_get(stage, "text")),
                     *chain = command_text(json_object_get(stage, "first_job"));
    printf("  %s: %s", chain, text);
    if (json_is_number(json_object_get(stage, "latency_p50_us"))) {
      g_autofree gchar *p50 = command_text_real(json_object_get(stage, "latency_p50_us"), 1),
                       *p99 = command_text_real(json_object_get(stage, "latency_p99_us"), 1);
      printf("; a row takes %s us (median; 99 of 100: %s us)", p50, p99);
    }
    putchar('\n');
  }
}

static void print_why(json_t *incident)
{
  gsize i;
  json_t *item, *body = json_object_get(incident, "body");
  print_head(incident);
  print_compact("began", json_object_get(body, "change_point"));
  print_compact("evidence", json_object_get(body, "evidence_log"));
  print_causes(incident);
  print_slices(incident);
  json_t *jobs = json_object_get(incident, "jobs"), *promotions = json_object_get(incident, "promotions");
  if (json_array_size(jobs) > 0) puts("jobs");
  json_array_foreach (jobs, i, item) print_job(item);
  print_stages(json_object_get(body, "stages"));
  json_t *notes = json_object_get(body, "notes");
  if (json_array_size(notes) > 0) puts("what was done, oldest first");
  json_array_foreach (notes, i, item) printf("  - %s\n", json_string_value(item));
  if (json_array_size(promotions) > 0) puts("promoted");
  json_array_foreach (promotions, i, item) {
    g_autofree gchar *at = command_text_time(json_object_get(item, "at"));
    g_autofree gchar *version = command_text(json_object_get(item, "version"));
    g_autofree gchar *actor = command_text(json_object_get(item, "actor"));
    g_autofree gchar *reason = command_text(json_object_get(item, "reason"));
    printf("  version %s at %s UTC by %s: %s\n", version, at, actor, reason);
  }
  if (json_array_size(jobs) == 0 && json_array_size(promotions) == 0) puts("no job was made for it");
}

static int run_why(int argc, char **argv)
{
  CommandCommon common;
  if (!command_parse(&command_why, &argc, &argv, NULL, &common)) return COMMAND_USAGE;
  if (argc != 2) return command_usage(&common, "one INCIDENT is needed (`kedge incidents` lists them)");
  g_autoptr(GError) error = NULL;
  g_autoptr(RegistryStore) store = command_open_store(&common, &error);
  json_t *report = store != NULL ? why(store, argv[1], &error) : NULL;
  return command_report(&common, report, error, print_why);
}

const Command command_why = {
    .name = "why",
    .arguments = "INCIDENT",
    .summary = "explain an incident: what, since when, causes, jobs, gate, promotion",
    .help =
        "--json prints the fields of `kedge incidents` and \"opening_verdict\" {\"id\", \"kind\", \"number\", "
        "\"panes\", "
        "\"body\"}, \"jobs\", \"versions\", \"promotions\". Where a policy has a chain, \"body\".\"stages\" is "
        "[{\"stage\", "
        "\"job\", \"first_job\", \"outcome\" (taken, left out, measured or failed), \"version\", \"text\" and figures: "
        "\"accuracy\", \"robust_accuracy\", \"bytes\", \"latency_p50_us\", \"latency_p99_us\", each with _before, "
        "\"n\"}].",
    .run = run_why,
};
