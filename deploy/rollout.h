/* Promotion and rollback: an alias change and the outbox item that carries it to the targets, in one transaction.
 * The outbox item is {"kind": "rollout", "id": "rollout/MODEL/REVISION", "target": MODEL, "body": {"version": N, …}}.
 */
#pragma once

#include "deploy/target.h"
#include "registry/artifact.h"
#include "registry/store.h"

G_BEGIN_DECLS

#define DEPLOY_CHAMPION "champion"

/* Sets MODEL@champion from `expected` (-1: whatever it is) to `version`; joins the caller's transaction. */
gboolean deploy_promote(RegistryStore *store, const gchar *model, gint64 version, gint64 expected, const gchar *actor,
                        const gchar *reason, GError **error);
/* Back to the version that was champion before the present one; *version gets it. Rolling back twice returns to where
 * one began (the history decides); any other version is a promotion. NOT_FOUND: there is no earlier champion. */
gboolean deploy_rollback(RegistryStore *store, const gchar *model, const gchar *actor, const gchar *reason,
                         gint64 *version, GError **error);
/* Applies the *current* champion to the targets (so that a delayed item never takes the target back in time). Every
 * target is tried; *applied is set when all of them took it. The graph's inputs and outputs come from the version's tag
 * DEPLOY_SIGNATURE_TAG where it has one: {"inputs": [{"name", "type", "dimensions": [-1, 8]}], "outputs": […]}. */
#define DEPLOY_SIGNATURE_TAG "signature"
gboolean deploy_rollout_apply(RegistryStore *store, RegistryArtifacts *artifacts, const gchar *model,
                              const DeployTargetSettings *targets, guint n_targets, gint64 *applied, GError **error);

/* The watch after a rollout: is the live error significantly worse than the promise? One-sided exact binomial test of
 * `errors` in `rows` against promised + margin at level alpha; FALSE while rows is too small to say. The level holds
 * for one look: a caller that looks again and again divides alpha by its number of looks. *p_value (may be NULL) is NaN
 * when undefined (promise not in [0, 1], more errors than rows). */
gboolean deploy_watch_disappoints(guint64 errors, guint64 rows, double promised_error, double margin, double alpha,
                                  double *p_value);

G_END_DECLS
