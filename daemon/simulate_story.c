/* See simulate_story.h. */
#include "daemon/simulate_story.h"

#include <jansson.h>
#include <math.h>
#include <string.h>

#include "daemon/command.h"
#include "registry/decision.h"
#include "registry/model.h"

enum { SHOWN_CAUSES = 4, SHOWN_NOTES = 8, LATEST_ROWS = 1000 };

typedef struct {
  const SimulateFeed *feed;
  const SimulateResult *result;
  GString *text;
  gint64 change; /* row of the stream from which the error was higher; -1: no alarm said so */
} Story;

static void paragraph(Story *story, const gchar *title)
{
  g_string_append_printf(story->text, "%s%s\n", story->text->len ? "\n" : "", title);
}

static void line(Story *story, const gchar *format, ...) G_GNUC_PRINTF(2, 3);
static void line(Story *story, const gchar *format, ...)
{
  va_list arguments;
  va_start(arguments, format);
  g_string_append(story->text, "  ");
  g_string_append_vprintf(story->text, format, arguments);
  g_string_append_c(story->text, '\n');
  va_end(arguments);
}

/* "12,345"; new. */
static gchar *grouped(gint64 number)
{
  json_t *json = json_integer(number);
  gchar *text = command_text_count(json);
  json_decref(json);
  return text;
}

static double real_of(const json_t *json, const gchar *key)
{
  const json_t *value = json_object_get(json, key);
  return json_is_number(value) ? json_number_value(value) : NAN;
}

static const gchar *text_of(const json_t *json, const gchar *key)
{
  const gchar *text = json_string_value(json_object_get(json, key));
  return text ? text : "";
}

/* The simulator's clock turned back: a row an interval (simulate_feed.c, time_of). */
static gint64 row_at(const Story *story, gint64 event_time)
{
  return (gint64)story->feed->warm_up + (event_time - story->feed->first_time) / story->feed->interval_us;
}

/* Labels are decided in the order sent when one partition carries them; several may interleave by a few rows. */
static gint64 row_of_label(const Story *story, gint64 labelled_row)
{
  return (gint64)story->feed->warm_up + labelled_row;
}

/* --- what drifted ---------------------------------------------------------------------------------------------- */

/* A mean for reading: whole and grouped when it is large. */
static gchar *rounded(double value)
{
  return fabs(value) >= 1000 && fabs(value) < 1e15 ? grouped((gint64)round(value)) : g_strdup_printf("%.3g", value);
}

static void tell_feature(Story *story, const json_t *cause)
{
  g_autofree gchar *n = grouped((gint64)real_of(cause, "n_window")),
                   *n_reference = grouped((gint64)real_of(cause, "n_reference"));
  const gchar *feature = text_of(cause, "feature");
  gboolean score = g_str_equal(feature, "(score)");
  g_string_append_printf(story->text, "    %s: ", score ? "the model's score" : feature);
  double before = real_of(cause, "mean_reference"), after = real_of(cause, "mean_window");
  if (!isnan(before) && !isnan(after)) {
    g_autofree gchar *now = rounded(after), *was = rounded(before);
    g_string_append_printf(story->text, "mean %s, was %s; ", now, was);
  }
  double outside = real_of(cause, "out_of_range_window");
  if (outside > 0) g_string_append_printf(story->text, "%.0f %% beyond all that was seen before; ", 100 * outside);
  g_string_append_printf(story->text, "effect %.2f, adjusted p %.1g (%s rows against %s)\n", real_of(cause, "effect"),
                         real_of(cause, "p_adjusted"), n, n_reference);
}

static void tell_inputs(Story *story, const RegistryIncident *incident, const json_t *body)
{
  const json_t *causes = json_object_get(body, "causes");
  json_int_t began = json_integer_value(json_object_get(json_object_get(body, "change_point"), "time"));
  g_autofree gchar *first = grouped(row_at(story, began)), *last = grouped(row_at(story, incident->opened_at));
  line(story, "The traffic changed in the window of rows %s to %s, seen without any label:", first, last);
  for (gsize i = 0; i < MIN(json_array_size(causes), SHOWN_CAUSES); i++) tell_feature(story, json_array_get(causes, i));
}

static void tell_error(Story *story, const RegistryIncident *incident, GError **error)
{
  g_autoptr(RegistryVerdict) verdict =
      incident->verdict ? registry_verdict_get(story->feed->store, incident->verdict, error) : NULL;
  json_t *body = verdict ? json_loads(verdict->body, 0, NULL) : NULL;
  if (json_is_true(json_object_get(body, "alarm"))) {
    gint64 row = row_of_label(story, json_integer_value(json_object_get(body, "change_row"))),
           labels = json_integer_value(json_object_get(body, "n_after"));
    if (story->change < 0) story->change = row;
    g_autofree gchar *at = grouped(row), *seen = grouped(labels);
    line(story, "The error rose from %.1f %% to %.1f %% at row %s; noticed %s labels later.",
         100 * real_of(body, "error_before"), 100 * real_of(body, "error_after"), at, seen);
  } else {
    g_autofree gchar *at = grouped(row_at(story, incident->opened_at));
    line(story, "About row %s: %s.", at, incident->summary);
  }
  json_decref(body);
}

static gboolean tell_drift(Story *story, GPtrArray *incidents, GError **error)
{
  g_autoptr(GError) local = NULL;
  paragraph(story, "What drifted");
  for (guint i = 0; i < incidents->len; i++) {
    const RegistryIncident *incident = g_ptr_array_index(incidents, i);
    json_t *body = json_loads(incident->body, 0, NULL);
    if (g_str_equal(incident->kind, "drift")) tell_inputs(story, incident, body);
    if (g_str_equal(incident->kind, "performance")) tell_error(story, incident, &local);
    json_decref(body);
  }
  if (incidents->len == 0) line(story, "Nothing: no incident was opened.");
  g_autoptr(GString) all = g_string_new(NULL);
  for (guint i = 0; i < incidents->len; i++) {
    const RegistryIncident *incident = g_ptr_array_index(incidents, i);
    g_string_append_printf(all, "%s%s (%s)", i ? ", " : "", incident->id, incident->state);
  }
  if (incidents->len) line(story, "Incidents: %s", all->str);
  if (local == NULL) return TRUE;
  g_propagate_error(error, g_steal_pointer(&local));
  return FALSE;
}

/* --- accuracy --------------------------------------------------------------------------------------------------- */

/* Mean merit as served and of the first version, positions [from, to) of what was served. */
static void tell_phase(Story *story, const gchar *name, gint64 from, gint64 to)
{
  double served = 0, kept = 0;
  guint64 n = 0;
  gint64 warm_up = (gint64)story->feed->warm_up, length = story->result->predictions->len;
  for (gint64 i = MAX(from - warm_up, 0); i < MIN(to - warm_up, length); i++) {
    const SimulatePrediction *p = &g_array_index(story->result->predictions, SimulatePrediction, i);
    if (isnan(p->merit)) continue;
    served += p->merit;
    kept += p->static_merit;
    n++;
  }
  if (n == 0) return;
  g_autofree gchar *first = grouped(MAX(from, warm_up)), *last = grouped(MIN(to, warm_up + length) - 1);
  g_autofree gchar *rows = g_strdup_printf("rows %s to %s", first, last);
  line(story, "%-22s %-24s %.3f   (version kept from the start: %.3f)", name, rows, served / (double)n,
       kept / (double)n);
}

/* First row after `from` that another version than the one before it served; the end when none did. */
static gint64 next_version_row(const Story *story, gint64 from)
{
  const GArray *served = story->result->predictions;
  gint64 warm_up = (gint64)story->feed->warm_up;
  for (guint i = (guint)MAX(from - warm_up, 0) + 1; i < served->len; i++)
    if (g_array_index(served, SimulatePrediction, i).version !=
        g_array_index(served, SimulatePrediction, i - 1).version)
      return warm_up + i;
  return warm_up + served->len;
}

static void tell_accuracy(Story *story, gboolean regression)
{
  gint64 first = (gint64)story->feed->warm_up, end = first + story->result->predictions->len;
  paragraph(story, regression ? "Mean absolute error of what was served" : "Accuracy of what was served");
  if (story->change > first) {
    gint64 mended = next_version_row(story, story->change);
    tell_phase(story, "before the change", first, story->change);
    tell_phase(story, "after it, not mended", story->change, mended);
    tell_phase(story, "mended", mended, end);
  }
  tell_phase(story, "at the end", MAX(end - LATEST_ROWS, first), end);
  tell_phase(story, "all", first, end);
}

/* --- what was done ---------------------------------------------------------------------------------------------- */

static void tell_notes(Story *story, GPtrArray *incidents)
{
  g_autofree gchar *offset = grouped((gint64)story->feed->warm_up);
  g_autofree gchar *title = g_strdup_printf("What was done about it (labelled row r is row r + %s)", offset);
  paragraph(story, title);
  guint told = 0;
  for (guint i = 0; i < incidents->len; i++) {
    const RegistryIncident *incident = g_ptr_array_index(incidents, i);
    json_t *body = json_loads(incident->body, 0, NULL);
    const json_t *notes = json_object_get(body, "notes");
    gsize n = json_array_size(notes), shown = MIN(n, SHOWN_NOTES);
    for (gsize j = 0; j < shown; j++) line(story, "- %s", json_string_value(json_array_get(notes, j)));
    if (n > shown) line(story, "… and %u more: kedge why %s", (guint)(n - shown), incident->id);
    told += (guint)n;
    json_decref(body);
  }
  if (told == 0) line(story, "Nothing: no verdict asked for it.");
}

static gboolean tell_versions(Story *story, GError **error)
{
  g_autoptr(GPtrArray) versions = registry_version_list(story->feed->store, story->feed->model->name, error);
  if (!versions) return FALSE;
  const GArray *served = story->result->predictions;
  g_autoptr(GString) text = g_string_new(NULL);
  for (guint i = 0, first = 0; i < served->len; i++) {
    gint64 version = g_array_index(served, SimulatePrediction, i).version;
    if (i + 1 < served->len && g_array_index(served, SimulatePrediction, i + 1).version == version) continue;
    g_autofree gchar *from = grouped((gint64)story->feed->warm_up + first),
                     *to = grouped((gint64)story->feed->warm_up + i);
    g_string_append_printf(text, "%sversion %" G_GINT64_FORMAT " rows %s to %s", text->len ? ", " : "", version, from,
                           to);
    first = i + 1;
  }
  line(story, "%u versions are registered; served: %s", versions->len, text->str);
  return TRUE;
}

/* --- bias ------------------------------------------------------------------------------------------------------- */

static void tell_bias_verdict(Story *story, const json_t *bias, double bound)
{
  g_autofree gchar *n = grouped((gint64)real_of(bias, "n_group")),
                   *n_other = grouped((gint64)real_of(bias, "n_reference"));
  line(story,
       "%s, latest window: %s is chosen in %.1f %% (n = %s), %s in %.1f %% (n = %s): ratio %.2f, 95 %% interval "
       "%.2f to %.2f",
       text_of(bias, "attribute"), text_of(bias, "group"), 100 * real_of(bias, "rate_group"), n,
       text_of(bias, "reference_group"), 100 * real_of(bias, "rate_reference"), n_other, real_of(bias, "value"),
       real_of(bias, "low"), real_of(bias, "high"));
  if (bound > 0)
    line(story, "%s the bound of %.2f: %s",
         json_is_true(json_object_get(bias, "breach")) ? "Below" : "Not provably below", bound,
         json_is_true(json_object_get(bias, "breach")) ? "an incident" : "no incident");
}

static gboolean tell_bias(Story *story, GError **error)
{
  g_autoptr(GPtrArray) verdicts =
      registry_verdict_list(story->feed->store, story->feed->model->name, "performance", 1, error);
  if (!verdicts) return FALSE;
  if (verdicts->len == 0) return TRUE;
  const RegistryVerdict *verdict = g_ptr_array_index(verdicts, 0);
  json_t *body = json_loads(verdict->body, 0, NULL), *bias;
  gsize i;
  gboolean any = FALSE;
  json_array_foreach (json_object_get(body, "bias_verdicts"), i, bias) {
    if (!g_str_equal(text_of(bias, "metric"), "disparate_impact") || isnan(real_of(bias, "value"))) continue;
    if (!any) paragraph(story, "Bias");
    any = TRUE;
    tell_bias_verdict(story, bias, story->feed->model->alarm.disparate_impact_bound);
  }
  json_decref(body);
  return TRUE;
}

gchar *simulate_story(const SimulateFeed *feed, const SimulateResult *result, GError **error)
{
  g_autoptr(GPtrArray) incidents = registry_incident_list(feed->store, feed->model->name, FALSE, 0, error);
  if (!incidents) return NULL;
  Story story = {.feed = feed, .result = result, .text = g_string_new(NULL), .change = -1};
  gboolean good = tell_drift(&story, incidents, error);
  if (good) tell_accuracy(&story, result->regression);
  if (good) tell_notes(&story, incidents);
  good = good && tell_versions(&story, error) && tell_bias(&story, error);
  gchar *text = g_string_free(story.text, FALSE);
  if (good) return text;
  g_free(text);
  return NULL;
}
