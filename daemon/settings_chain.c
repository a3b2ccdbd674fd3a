/* Whether policy.chain can be: order, options of its stages, what contradicts what. */
#include <math.h>
#include <string.h>

#include "daemon/chain.h"
#include "daemon/settings_internal.h"
#include "pipeline/tree_options.h"

typedef struct {
  const SettingsModel *model;
  const SettingsOrigin *origin;
  const gchar *at; /* "models[0]" */
} Context;

G_GNUC_PRINTF(4, 5)
static gboolean refuse(const Context *context, GError **error, const gchar *member, const gchar *format, ...)
{
  va_list arguments;
  va_start(arguments, format);
  g_autofree gchar *text = g_strdup_vprintf(format, arguments);
  va_end(arguments);
  g_autofree gchar *path = g_strdup_printf("%s.policy.%s", context->at, member);
  settings_set_error(error, context->origin, path, "%s", text);
  return FALSE;
}

static gboolean has_stage(const SettingsPolicy *policy, const gchar *kind)
{
  return policy->chain != NULL && g_strv_contains((const gchar *const *)policy->chain, kind);
}

/* --- order ---------------------------------------------------------------------------------------------------------
 */

/* Stages in the order in which they may stand; the first two exclude each other. */
static guint rank_of(const gchar *kind)
{
  static const struct {
    const gchar *kind;
    guint rank;
  } ranks[] = {{"retrain", 0}, {"search", 0}, {"harden", 1}, {"compress", 2}, {"attack", 3}};
  for (guint i = 0; i < G_N_ELEMENTS(ranks); i++)
    if (strcmp(ranks[i].kind, kind) == 0) return ranks[i].rank;
  return G_MAXUINT;
}

static gboolean check_order(const Context *context, GError **error)
{
  gchar **chain = context->model->policy.chain;
  for (guint i = 0; chain[i] != NULL; i++) {
    g_autofree gchar *member = g_strdup_printf("chain[%u]", i);
    guint rank = rank_of(chain[i]);
    if (i == 0 && rank != 0)
      return refuse(context, error, member, "a chain begins with retrain or search, not with %s", chain[i]);
    if (i > 0 && rank == 0)
      return refuse(context, error, member, "%s can only be the first stage: write [%s, ...]", chain[i], chain[i]);
    if (i > 0 && rank <= rank_of(chain[i - 1]))
      return refuse(context, error, member,
                    "%s cannot stand behind %s: the order is retrain or search, harden, compress, attack, each once "
                    "(a compressed version cannot be trained)",
                    chain[i], chain[i - 1]);
  }
  return TRUE;
}

/* --- options -------------------------------------------------------------------------------------------------------
 */

/* Whether the section asks for something, which means nothing without the stage. */
static gboolean asks_search(const SettingsPolicy *policy)
{
  return policy->search.trials > 0 || policy->search.seconds > 0;
}

static gboolean asks_compress(const SettingsPolicy *policy)
{
  return policy->compress.int8 || policy->compress.prune > 0 || *policy->compress.distill != '\0';
}

static gboolean asks_attack(const SettingsPolicy *policy)
{
  return policy->attack.epsilon > 0;
}

static gboolean check_harden(const Context *context, const gchar *member, GError **error)
{
  const SettingsPolicy *policy = &context->model->policy;
  if (strcmp(policy->harden, "none") == 0)
    return refuse(context, error, member, "harden needs a method: write policy.harden, e.g. harden: pgd");
  if (policy->adversarial_epsilon > 0) return TRUE;
  return refuse(context, error, member,
                "harden needs a radius above 0: write policy.adversarial_epsilon, e.g. adversarial_epsilon: 0.1");
}

static gboolean check_attack(const Context *context, const gchar *member, GError **error)
{
  const SettingsPolicy *policy = &context->model->policy;
  if (policy->attack.epsilon > 0 || policy->adversarial_epsilon > 0) return TRUE;
  return refuse(context, error, member,
                "attack needs a radius above 0: write policy.attack.epsilon or policy.adversarial_epsilon");
}

static gboolean check_search(const Context *context, const gchar *member, GError **error)
{
  const SettingsPolicy *policy = &context->model->policy;
  if (strcmp(policy->retrain_mode, "scratch") != 0)
    return refuse(context, error, member, "a search begins with new weights: write retrain_mode: scratch, not %s",
                  policy->retrain_mode);
  if (policy->search.ensemble != 1 && has_stage(policy, "harden"))
    return refuse(context, error, member,
                  "a mean of several trials cannot be hardened: write policy.search.ensemble: 1, or leave out harden");
  if (policy->search.ensemble != 1 && has_stage(policy, "compress") && policy->compress.prune > 0)
    return refuse(context, error, member,
                  "a mean of several trials cannot be pruned: write policy.search.ensemble: 1, or compress it by "
                  "distill or int8");
  if (asks_search(policy)) return TRUE;
  return refuse(context, error, member,
                "search needs a budget: write policy.search.trials, policy.search.seconds or both");
}

static gboolean check_compress(const Context *context, const gchar *member, GError **error)
{
  if (asks_compress(&context->model->policy)) return TRUE;
  return refuse(context, error, member,
                "compress needs to know how: write policy.compress, e.g. compress: {int8: true}, {prune: 0.5} or "
                "{distill: \"mlp:16\"}");
}

static const struct {
  const gchar *kind, *section; /* NULL: hardening has none of its own, and means something without a chain */
  gboolean (*asks)(const SettingsPolicy *policy);
  gboolean (*check)(const Context *context, const gchar *member, GError **error);
} stages[] = {{"search", "search", asks_search, check_search},
              {"harden", NULL, NULL, check_harden},
              {"compress", "compress", asks_compress, check_compress},
              {"attack", "attack", asks_attack, check_attack}};

/* What the job kind itself says of the options; those that this file knows were looked at before. */
static gboolean check_kind(const Context *context, const gchar *kind, const gchar *section, GError **error)
{
  g_autoptr(GError) fault = NULL;
  json_t *options = chain_stage_options(&context->model->policy, kind);
  gboolean good = context->origin->check_stage == NULL || context->origin->check_stage(kind, options, &fault);
  json_decref(options);
  return good || refuse(context, error, section != NULL ? section : "chain", "%s", fault->message);
}

static gboolean check_stages(const Context *context, GError **error)
{
  gchar **chain = context->model->policy.chain;
  for (guint s = 0; s < G_N_ELEMENTS(stages); s++) {
    if (!has_stage(&context->model->policy, stages[s].kind)) {
      if (stages[s].asks != NULL && stages[s].asks(&context->model->policy))
        return refuse(context, error, stages[s].section, "means nothing without the stage %s in policy.chain",
                      stages[s].kind);
      continue;
    }
    guint at = 0;
    while (strcmp(chain[at], stages[s].kind) != 0) at++;
    g_autofree gchar *member = g_strdup_printf("chain[%u]", at);
    if (!stages[s].check(context, member, error) || !check_kind(context, stages[s].kind, stages[s].section, error))
      return FALSE;
  }
  return TRUE;
}

/* --- what contradicts what ------------------------------------------------------------------------------------------
 */

static gboolean needs_gradients(gchar **attacks)
{
  return g_strv_contains((const gchar *const *)attacks, "pgd") ||
         g_strv_contains((const gchar *const *)attacks, "fgsm");
}

static gboolean check_together(const Context *context, GError **error)
{
  const SettingsModel *model = context->model;
  const SettingsPolicy *policy = &model->policy;
  gboolean trees = pipeline_tree_is_architecture(policy->architecture), integers = policy->compress.int8;
  if (strcmp(policy->retrain_mode, "mixture") == 0)
    return refuse(context, error, "chain", "with retrain_mode: mixture there is no training for stages to follow");
  if (trees && has_stage(policy, "harden"))
    return refuse(context, error, "chain", "trees have no gradients and cannot be hardened: architecture or harden");
  if (has_stage(policy, "attack") && (integers || trees) && needs_gradients(policy->attack.attacks))
    return refuse(context, error, "attack.attacks", "%s have no gradients: write square or hopskipjump",
                  integers ? "8-bit models" : "trees");
  if (integers && model->gate.robust_accuracy_bound > 0 && !has_stage(policy, "attack"))
    return refuse(context, error, "chain",
                  "8-bit models have no gradients, so that nothing would measure what gate.robust_accuracy_bound asks "
                  "for: add the stage attack");
  return TRUE;
}

gboolean settings_check_chain(const SettingsModel *model, const gchar *at, const SettingsOrigin *origin, GError **error)
{
  const Context context = {model, origin, at};
  if (!settings_policy_has_chain(&model->policy)) return check_stages(&context, error);
  return check_order(&context, error) && check_stages(&context, error) && check_together(&context, error);
}
