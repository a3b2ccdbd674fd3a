#include "deploy/gate.h"

#include <jansson.h>
#include <math.h>
#include <string.h>

#include "deploy/target.h"

#define MEASURED_MAXIMUM (16 * 1024 * 1024)

void deploy_gate_policy_init(DeployGatePolicy *policy)
{
  *policy = (DeployGatePolicy){.minimum_holdout = 30};
}

/* What a rule may look at; NaN where the job did not measure it or what it wrote is not a number of its range. */
typedef struct {
  double n; /* held-out rows of the paired comparison */
  double champion, challenger, gain, low, high, confidence;
  double disparate_impact, robust_accuracy, robust_epsilon, latency_p99_us, bytes, evaluated;
  double robust_n;                     /* rows attacked */
  const gchar *disparate_impact_group; /* borrowed; NULL: not named */
} Figures;

static double number_in(const json_t *object, const gchar *key, double minimum, double maximum)
{
  const json_t *value = json_object_get(object, key);
  if (!json_is_number(value)) return NAN;
  double number = json_number_value(value);
  return isfinite(number) && number >= minimum && number <= maximum ? number : NAN;
}

static void read_figures(const json_t *root, Figures *figures)
{
  const json_t *comparison = json_object_get(root, "comparison"), *challenger = json_object_get(root, "challenger");
  *figures = (Figures){
      .n = number_in(comparison, "n", 0, 1e15),
      .champion = number_in(comparison, "champion", -1e300, 1e300),
      .challenger = number_in(comparison, "challenger", -1e300, 1e300),
      .gain = number_in(comparison, "gain", -1e300, 1e300),
      .low = number_in(comparison, "low", -1e300, 1e300),
      .high = number_in(comparison, "high", -1e300, 1e300),
      .confidence = number_in(comparison, "confidence", 0, 1),
      .evaluated = number_in(challenger, "n", 0, 1e15),
      .disparate_impact = number_in(challenger, "disparate_impact_worst", 0, 1e300),
      .robust_accuracy = number_in(challenger, "robust_accuracy", 0, 1),
      .robust_epsilon = number_in(challenger, "robust_epsilon", 0, 1e300),
      .robust_n = number_in(challenger, "robust_n", 0, 1e15),
      .latency_p99_us = number_in(challenger, "latency_p99_us", 0, 1e300),
      .bytes = number_in(challenger, "bytes", 0, 1e15),
      .disparate_impact_group = json_string_value(json_object_get(challenger, "disparate_impact_group")),
  };
  /* An interval that does not hold its own mean was not measured. */
  if (!(figures->low <= figures->gain && figures->gain <= figures->high))
    figures->low = figures->gain = figures->high = NAN;
}

/* "1,204" */
static gchar *format_count(double count)
{
  if (isnan(count)) return g_strdup("undefined");
  g_autofree gchar *digits = g_strdup_printf("%.0f", count);
  gsize length = strlen(digits);
  GString *out = g_string_new(NULL);
  for (gsize i = 0; i < length; i++) {
    if (i > 0 && (length - i) % 3 == 0) g_string_append_c(out, ',');
    g_string_append_c(out, digits[i]);
  }
  return g_string_free(out, FALSE);
}

/* Three digits after the point without the leading zero: ".610", "-.020", "12.500". */
static gchar *format_figure(double value)
{
  if (isnan(value)) return g_strdup("undefined");
  gchar *text = g_strdup_printf("%.3f", value);
  gchar *digits = text[0] == '-' ? text + 1 : text;
  if (digits[0] == '0' && digits[1] == '.') memmove(digits, digits + 1, strlen(digits));
  return text;
}

static gchar *interval_text(const Figures *f)
{
  g_autofree gchar *gain = format_figure(f->gain), *low = format_figure(f->low), *high = format_figure(f->high);
  g_autofree gchar *champion = format_figure(f->champion), *challenger = format_figure(f->challenger);
  g_autofree gchar *n = format_count(f->n);
  g_autofree gchar *level = isnan(f->confidence) ? g_strdup("") : g_strdup_printf("%g %% ", 100 * f->confidence);
  return g_strdup_printf("gain %s (%sinterval %s to %s; champion %s, challenger %s), n = %s", gain, level, low, high,
                         champion, challenger, n);
}

static gchar *undefined_text(const gchar *what, const gchar *why, double count)
{
  g_autofree gchar *n = format_count(count);
  return g_strdup_printf("%s is undefined: %s, n = %s", what, why, n);
}

/* --- the rules: each sets *text and returns whether the figures satisfy it ------------------------------------ */

static gboolean judge_holdout(const DeployGatePolicy *policy, const Figures *f, gchar **text)
{
  g_autofree gchar *n = format_count(f->n), *bound = format_count((double)policy->minimum_holdout);
  gboolean passed = f->n >= (double)policy->minimum_holdout;
  *text = isnan(f->n) ? undefined_text("the number of held-out rows", "the job did not report it", NAN)
          : passed
              ? g_strdup_printf("%s held-out rows are enough (at least %s)", n, bound)
              : g_strdup_printf("%s held-out rows are fewer than the %s that the gate asks for, n = %s", n, bound, n);
  return passed;
}

static gboolean judge_gain(const DeployGatePolicy *policy, const Figures *f, gchar **text)
{
  double figure = policy->require_significance ? f->low : f->gain;
  if (isnan(figure) || !(f->n > 0)) {
    *text = undefined_text("the gain over the champion", "the paired comparison has no valid figures", f->n);
    return FALSE;
  }
  gboolean passed = figure >= policy->minimum_gain;
  g_autofree gchar *interval = interval_text(f), *bound = format_figure(policy->minimum_gain);
  *text = g_strdup_printf("%s%s %s the minimum gain %s", policy->require_significance ? "lower end of the " : "",
                          interval, passed ? "reaches" : "is below", bound);
  return passed;
}

static gboolean judge_loss(const DeployGatePolicy *policy, const Figures *f, gchar **text)
{
  if (isnan(f->low) || !(f->n > 0)) {
    *text = undefined_text("the possible loss", "the paired comparison has no valid figures", f->n);
    return FALSE;
  }
  gboolean passed = f->low > -policy->maximum_loss;
  g_autofree gchar *interval = interval_text(f), *bound = format_figure(policy->maximum_loss);
  *text = g_strdup_printf("%s %s a loss of %s or more", interval, passed ? "rules out" : "does not rule out", bound);
  return passed;
}

static gboolean judge_disparate_impact(const DeployGatePolicy *policy, const Figures *f, gchar **text)
{
  if (isnan(f->disparate_impact)) {
    *text = undefined_text("the challenger's disparate impact", "no two groups of a sensitive feature were measured",
                           f->evaluated);
    return FALSE;
  }
  gboolean passed = f->disparate_impact >= policy->disparate_impact_bound;
  g_autofree gchar *value = format_figure(f->disparate_impact), *n = format_count(f->evaluated);
  g_autofree gchar *bound = format_figure(policy->disparate_impact_bound);
  const gchar *group = f->disparate_impact_group != NULL ? f->disparate_impact_group : "group not named";
  *text = g_strdup_printf("disparate impact %s (%s) %s the bound %s, n = %s", value, group,
                          passed ? "keeps" : "is below", bound, n);
  return passed;
}

static gboolean judge_robust_accuracy(const DeployGatePolicy *policy, const Figures *f, gchar **text)
{
  if (isnan(f->robust_accuracy)) {
    *text = undefined_text("the challenger's robust accuracy", "it was not measured", f->evaluated);
    return FALSE;
  }
  gboolean passed = f->robust_accuracy >= policy->robust_accuracy_bound;
  g_autofree gchar *value = format_figure(f->robust_accuracy), *epsilon = format_figure(f->robust_epsilon);
  g_autofree gchar *bound = format_figure(policy->robust_accuracy_bound),
                   *n = format_count(isnan(f->robust_n) ? f->evaluated : f->robust_n);
  *text = g_strdup_printf("robust accuracy %s (epsilon %s) %s the bound %s, n = %s", value, epsilon,
                          passed ? "reaches" : "is below", bound, n);
  return passed;
}

static gboolean judge_latency(const DeployGatePolicy *policy, const Figures *f, gchar **text)
{
  if (isnan(f->latency_p99_us)) {
    *text = undefined_text("the challenger's latency p99", "it was not measured", f->evaluated);
    return FALSE;
  }
  gboolean passed = f->latency_p99_us <= policy->latency_p99_bound_us;
  g_autofree gchar *n = format_count(f->evaluated);
  *text = g_strdup_printf("latency p99 %.0f us %s the bound %.0f us, n = %s", f->latency_p99_us,
                          passed ? "keeps" : "is above", policy->latency_p99_bound_us, n);
  return passed;
}

static gboolean judge_size(const DeployGatePolicy *policy, const Figures *f, gchar **text)
{
  if (isnan(f->bytes)) {
    *text = undefined_text("the challenger's size", "it was not measured", f->evaluated);
    return FALSE;
  }
  gboolean passed = f->bytes <= policy->size_bound_bytes;
  g_autofree gchar *bytes = format_count(f->bytes), *bound = format_count(policy->size_bound_bytes);
  *text = g_strdup_printf("size %s bytes %s the bound %s bytes", bytes, passed ? "keeps" : "is above", bound);
  return passed;
}

/* applies: whether the policy asks for it (NULL: always). */
static gboolean asks_loss(const DeployGatePolicy *policy)
{
  return policy->maximum_loss > 0;
}
static gboolean asks_disparate_impact(const DeployGatePolicy *policy)
{
  return policy->disparate_impact_bound > 0;
}
static gboolean asks_robust_accuracy(const DeployGatePolicy *policy)
{
  return policy->robust_accuracy_bound > 0;
}
static gboolean asks_latency(const DeployGatePolicy *policy)
{
  return policy->latency_p99_bound_us > 0;
}
static gboolean asks_size(const DeployGatePolicy *policy)
{
  return policy->size_bound_bytes > 0;
}

/* One more rule: a line here, a field of the policy, and what the job must measure for it
 * (pipeline/job_training_judge.c). */
static const struct {
  const gchar *rule;
  gboolean (*applies)(const DeployGatePolicy *policy);
  gboolean (*judge)(const DeployGatePolicy *policy, const Figures *figures, gchar **text);
} rules[] = {
    {"minimum_holdout", NULL, judge_holdout},
    {"gain", NULL, judge_gain},
    {"maximum_loss", asks_loss, judge_loss},
    {"disparate_impact", asks_disparate_impact, judge_disparate_impact},
    {"robust_accuracy", asks_robust_accuracy, judge_robust_accuracy},
    {"latency_p99", asks_latency, judge_latency},
    {"size", asks_size, judge_size},
};

/* A bound that is not a number would switch its rule off or let everything through. */
static gboolean check_policy(const DeployGatePolicy *policy, GError **error)
{
  const gchar *fault = NULL;
  if (!isfinite(policy->minimum_gain))
    fault = "minimum_gain must be a number";
  else if (!(policy->maximum_loss >= 0 && isfinite(policy->maximum_loss)))
    fault = "maximum_loss must be at least 0";
  else if (!(policy->disparate_impact_bound >= 0 && policy->disparate_impact_bound <= 1))
    fault = "disparate_impact_bound must be 0 to 1";
  else if (!(policy->robust_accuracy_bound >= 0 && policy->robust_accuracy_bound <= 1))
    fault = "robust_accuracy_bound must be 0 to 1";
  else if (!(policy->latency_p99_bound_us >= 0 && isfinite(policy->latency_p99_bound_us)))
    fault = "latency_p99_bound_us must be at least 0";
  else if (!(policy->size_bound_bytes >= 0 && isfinite(policy->size_bound_bytes)))
    fault = "size_bound_bytes must be at least 0";
  if (fault == NULL) return TRUE;
  g_set_error(error, DEPLOY_ERROR, DEPLOY_ERROR_INVALID, "the gate's policy cannot be used: %s", fault);
  return FALSE;
}

static void finding_free(gpointer data)
{
  DeployGateFinding *finding = data;
  g_free(finding->text);
  g_free(finding);
}

void deploy_gate_result_free(DeployGateResult *result)
{
  if (result == NULL) return;
  g_ptr_array_unref(result->findings);
  g_free(result);
}

DeployGateResult *deploy_gate_judge(const DeployGatePolicy *policy, const gchar *measured, GError **error)
{
  if (!check_policy(policy, error)) return NULL;
  json_error_t fault = {0};
  json_t *root = measured != NULL && strlen(measured) <= MEASURED_MAXIMUM
                     ? json_loads(measured, JSON_REJECT_DUPLICATES, &fault)
                     : NULL;
  if (!json_is_object(root)) {
    g_set_error(error, DEPLOY_ERROR, DEPLOY_ERROR_INVALID, "the job's result is not a JSON object%s%s",
                fault.text[0] != '\0' ? ": " : "", fault.text);
    json_decref(root);
    return NULL;
  }
  Figures figures;
  read_figures(root, &figures);
  DeployGateResult *result = g_new0(DeployGateResult, 1);
  result->passed = TRUE;
  result->findings = g_ptr_array_new_with_free_func(finding_free);
  for (guint i = 0; i < G_N_ELEMENTS(rules); i++) {
    DeployGateFinding *finding = g_new0(DeployGateFinding, 1);
    finding->rule = rules[i].rule;
    finding->applies = rules[i].applies == NULL || rules[i].applies(policy);
    if (finding->applies)
      finding->passed = rules[i].judge(policy, &figures, &finding->text);
    else
      finding->passed = TRUE, finding->text = g_strdup("the policy sets no bound");
    result->passed = result->passed && finding->passed;
    g_ptr_array_add(result->findings, finding);
  }
  json_decref(root);
  return result;
}

gchar *deploy_gate_result_to_json(const DeployGateResult *result)
{
  json_t *findings = json_array();
  for (guint i = 0; i < result->findings->len; i++) {
    const DeployGateFinding *finding = g_ptr_array_index(result->findings, i);
    json_t *line =
        json_pack("{s:s, s:b, s:b}", "rule", finding->rule, "passed", finding->passed, "applies", finding->applies);
    g_autofree gchar *text = g_utf8_make_valid(finding->text, -1);
    json_object_set_new(line, "text", json_string(text));
    json_array_append_new(findings, line);
  }
  json_t *root = json_pack("{s:b, s:o}", "passed", result->passed, "findings", findings);
  char *dumped = json_dumps(root, JSON_COMPACT);
  json_decref(root);
  gchar *copy = g_strdup(dumped);
  free(dumped);
  return copy;
}
