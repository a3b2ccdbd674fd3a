#include "daemon/chain.h"

#include <math.h>

/* --- from the settings ---------------------------------------------------------------------------------------------
 */

static json_t *join(gchar **items)
{
  g_autofree gchar *text = g_strjoinv(",", items);
  return json_string(text);
}

static json_t *search_options(const SettingsPolicy *policy)
{
  const SettingsSearch *s = &policy->search;
  return json_pack("{s:i, s:f, s:i, s:s, s:i}", "trials", (int)s->trials, "seconds", s->seconds, "workers",
                   (int)s->workers, "space", s->space, "ensemble", (int)s->ensemble);
}

static json_t *harden_options(const SettingsPolicy *policy)
{
  return json_pack("{s:s, s:f, s:i, s:i}", "method", policy->harden, "epsilon", policy->adversarial_epsilon, "steps",
                   (int)policy->adversarial_steps, "epochs", (int)policy->harden_epochs);
}

static json_t *compress_options(const SettingsPolicy *policy)
{
  const SettingsCompress *c = &policy->compress;
  json_t *options = json_pack("{s:b, s:s, s:s, s:s, s:s}", "int8", c->int8, "activations", c->activations, "ranges",
                              c->ranges, "keep_float", c->keep_float, "distill", c->distill);
  json_object_set_new(options, "prune", json_real(c->prune));
  json_object_set_new(options, "structured", json_boolean(c->structured));
  json_object_set_new(options, "fine_tune_epochs", json_integer(c->fine_tune_epochs));
  json_object_set_new(options, "epochs", json_integer(c->distill_epochs));
  return options;
}

static json_t *attack_options(const SettingsPolicy *policy)
{
  const SettingsAttack *a = &policy->attack;
  double epsilon = a->epsilon > 0 ? a->epsilon : policy->adversarial_epsilon;
  json_t *options =
      json_pack("{s:o, s:f, s:i, s:i, s:i, s:o, s:o, s:o}", "attacks", join(a->attacks), "epsilon", epsilon, "steps",
                (int)a->steps, "queries", (int)a->queries, "rows", (int)a->rows, "immutable", join(a->immutable),
                "integer", join(a->integer), "one_hot", join(a->one_hot));
  json_object_set_new(options, "mutable_categories", join(a->mutable_categories));
  json_object_set_new(options, "category_budget", json_integer(a->category_budget));
  return options;
}

static const struct {
  const gchar *kind;
  json_t *(*options)(const SettingsPolicy *policy);
} stage_options[] = {
    {"search", search_options}, {"harden", harden_options}, {"compress", compress_options}, {"attack", attack_options}};

json_t *chain_stage_options(const SettingsPolicy *policy, const gchar *kind)
{
  for (guint i = 0; i < G_N_ELEMENTS(stage_options); i++)
    if (g_str_equal(stage_options[i].kind, kind)) return stage_options[i].options(policy);
  return json_object();
}

json_t *chain_new(const SettingsPolicy *policy, const gchar *kind, const gchar *tail, json_t *base)
{
  json_t *stages = json_array();
  for (guint i = 0; policy->chain[i] != NULL; i++)
    json_array_append_new(stages, json_pack("{s:s, s:o}", "kind", i == 0 ? kind : policy->chain[i], "options",
                                            chain_stage_options(policy, policy->chain[i])));
  return json_pack("{s:o, s:i, s:o, s:f, s:s, s:n, s:i, s:n}", "stages", stages, "at", 0, "base", base, "maximum_loss",
                   policy->chain_maximum_loss, "tail", tail, "job", "version", 0, "robust");
}

/* --- the stage that runs -------------------------------------------------------------------------------------------
 */

static const json_t *stage_at(const json_t *chain)
{
  return json_array_get(json_object_get(chain, "stages"), (size_t)json_integer_value(json_object_get(chain, "at")));
}

const gchar *chain_get_kind(const json_t *chain)
{
  return json_string_value(json_object_get(stage_at(chain), "kind"));
}

gchar *chain_make_id(const json_t *chain, const gchar *model)
{
  return g_strdup_printf("%s/%s/%s", model, chain_get_kind(chain), json_string_value(json_object_get(chain, "tail")));
}

json_t *chain_make_spec(const json_t *chain)
{
  json_t *spec = json_deep_copy(json_object_get(chain, "base"));
  json_object_update(spec, json_object_get(stage_at(chain), "options"));
  json_object_set(spec, "from", json_object_get(chain, "version"));
  return spec;
}

/* --- its end -------------------------------------------------------------------------------------------------------
 */

static double number_of(const json_t *object, const gchar *part, const gchar *name)
{
  const json_t *value = json_object_get(json_object_get(object, part), name);
  return json_is_number(value) ? json_number_value(value) : NAN;
}

/* ", WORD .912 → .905" where both are known. word NULL: not in the text, because it differs from run to run. */
static void add_pair(GString *text, json_t *stage, const json_t *result, const gchar *name, const gchar *word,
                     const gchar *format)
{
  double before = number_of(result, "before", name), after = number_of(result, "challenger", name);
  if (isnan(after)) return;
  g_autofree gchar *before_name = g_strconcat(name, "_before", NULL);
  json_object_set_new(stage, name, json_real(after));
  if (!isnan(before)) json_object_set_new(stage, before_name, json_real(before));
  if (word == NULL) return;
  g_string_append_printf(text, ", %s ", word);
  if (!isnan(before)) {
    g_string_append_printf(text, format, before);
    g_string_append(text, " → ");
  }
  g_string_append_printf(text, format, after);
}

/* Figures of a stage that made a version. */
static void add_figures(GString *text, json_t *stage, const json_t *result)
{
  static const struct {
    const gchar *name, *word, *format;
  } figures[] = {{"accuracy", "accuracy", "%.3f"},
                 {"robust_accuracy", "accuracy under attack", "%.3f"},
                 {"bytes", "bytes", "%.0f"},
                 {"latency_p50_us", NULL, ""},
                 {"latency_p99_us", NULL, ""}};
  for (guint i = 0; i < G_N_ELEMENTS(figures); i++)
    add_pair(text, stage, result, figures[i].name, figures[i].word, figures[i].format);
  double n = number_of(result, "challenger", "n");
  json_object_set_new(stage, "n", isnan(n) ? json_null() : json_integer((json_int_t)n));
  if (!isnan(n)) g_string_append_printf(text, ", n = %.0f held-out rows", n);
}

/* Accuracy that the stage cost; NaN: not measured. */
static double loss_of(const json_t *result)
{
  return number_of(result, "before", "accuracy") - number_of(result, "challenger", "accuracy");
}

/* Why the version of a stage after the first one is not taken (new); NULL: it is. */
static gchar *find_fault(const json_t *chain, const json_t *result)
{
  double limit = json_number_value(json_object_get(chain, "maximum_loss")), loss = loss_of(result);
  if (json_integer_value(json_object_get(result, "version")) <= 0) return g_strdup("its result names no version");
  if (isnan(loss)) return g_strdup("its loss of accuracy was not measured");
  return loss > limit ? g_strdup_printf("it lost %.3f of accuracy, more than chain_maximum_loss %.3f", loss, limit)
                      : NULL;
}

static void take(json_t *chain, const gchar *job, const json_t *result, GString *text, json_t *stage)
{
  json_object_set_new(chain, "job", json_string(job));
  json_object_set(chain, "version", json_object_get(result, "version"));
  json_object_set(stage, "version", json_object_get(result, "version"));
  json_object_set_new(stage, "outcome", json_string("taken"));
  g_string_append_printf(text, " made version %" JSON_INTEGER_FORMAT,
                         json_integer_value(json_object_get(result, "version")));
  add_figures(text, stage, result);
}

/* An attack: the first radius's worst. */
static void note_attack(json_t *chain, const json_t *result, GString *text, json_t *stage)
{
  const json_t *report = json_object_get(result, "robustness");
  const json_t *worst = json_array_get(json_object_get(report, "worst"), 0);
  json_t *robust =
      json_pack("{s:O?, s:O?, s:O?}", "robust_accuracy", json_object_get(worst, "robust_accuracy"), "robust_epsilon",
                json_object_get(worst, "epsilon"), "robust_n", json_object_get(report, "rows"));
  json_object_set(chain, "robust", robust);
  json_object_update(stage, robust);
  json_object_set(stage, "version", json_object_get(result, "attacked"));
  json_object_set_new(stage, "outcome", json_string("measured"));
  g_string_append_printf(
      text,
      " on version %" JSON_INTEGER_FORMAT ": accuracy %.3f, under attack at epsilon %g %.3f, n = %" JSON_INTEGER_FORMAT,
      json_integer_value(json_object_get(result, "attacked")), json_number_value(json_object_get(report, "accuracy")),
      json_number_value(json_object_get(worst, "epsilon")),
      json_number_value(json_object_get(worst, "robust_accuracy")),
      json_integer_value(json_object_get(report, "rows")));
  json_decref(robust);
}

static void leave_out(const json_t *chain, const json_t *result, const gchar *why, GString *text, json_t *stage)
{
  json_object_set_new(stage, "outcome", json_string("left out"));
  if (result != NULL) json_object_set(stage, "version", json_object_get(result, "version"));
  g_string_append_printf(text, " left out: %s", why);
  if (result != NULL) add_figures(text, stage, result);
  g_string_append_printf(text, "; the chain goes on with version %" JSON_INTEGER_FORMAT,
                         json_integer_value(json_object_get(chain, "version")));
}

static ChainStep fail(json_t *stage, const gchar *state, const gchar *why, GString *text)
{
  json_object_set_new(stage, "outcome", json_string("failed"));
  g_string_append_printf(text, " %s: %s; nothing of the chain goes to the gate", state, why);
  return CHAIN_FAILED;
}

static ChainStep end_stage(json_t *chain, const gchar *job, const gchar *state, const json_t *result, const gchar *why,
                           GString *text, json_t *stage)
{
  gboolean first = json_integer_value(json_object_get(chain, "at")) == 0, done = result != NULL;
  json_int_t at = json_integer_value(json_object_get(chain, "at")) + 1;
  if (g_str_equal(state, "cancelled") || (first && !done)) return fail(stage, state, why, text);
  if (first && json_integer_value(json_object_get(result, "version")) <= 0)
    return fail(stage, state, "its result names no version", text);
  gboolean attack = g_str_equal(chain_get_kind(chain), "attack");
  g_autofree gchar *fault = first || attack || !done ? NULL : find_fault(chain, result);
  if (!done || fault != NULL)
    leave_out(chain, result, fault != NULL ? fault : why, text, stage);
  else if (attack)
    note_attack(chain, result, text, stage);
  else
    take(chain, job, result, text, stage);
  json_object_set_new(chain, "at", json_integer(at));
  return (gsize)at < json_array_size(json_object_get(chain, "stages")) ? CHAIN_NEXT : CHAIN_JUDGE;
}

ChainStep chain_end_stage(json_t *chain, const gchar *job, const gchar *state, const json_t *result, const gchar *why,
                          json_t **stage)
{
  GString *text = g_string_new(chain_get_kind(chain));
  *stage = json_pack("{s:s, s:s}", "stage", chain_get_kind(chain), "job", job);
  ChainStep step = end_stage(chain, job, state, result, why, text, *stage);
  json_object_set_new(*stage, "text", json_string(text->str));
  g_string_free(text, TRUE);
  return step;
}

json_t *chain_make_result(const json_t *chain, const json_t *result)
{
  json_t *made = json_deep_copy(result), *robust = json_object_get(chain, "robust");
  if (json_is_object(robust)) json_object_update(json_object_get(made, "challenger"), robust);
  return made;
}
