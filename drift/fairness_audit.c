#include "drift/fairness_audit.h"

#include <math.h>
#include <string.h>

#include "drift/bytes_internal.h"
#include "drift/schema.h"

#define MAX_GROUPS 1024u
#define MAGIC "KFAU"
#define VERSION 1
/* Step of the online Newton method, 2 / (2 - ln 3). */
static const double newton_step = 2.218801049600289;

/* Wealth that bets on d > margin (or, with the sign turned, on d < -margin). */
typedef struct {
  double log_wealth, bet, squares;
} Bet;

typedef struct {
  Bet up, down;
  double best;        /* largest ln of the mean of both wealths */
  double waiting_sum; /* outcomes since the last pair, of the side that waits for the other */
  guint64 waiting;    /* their number */
  guint8 reference_waits;
  guint64 n, n_reference, n_pairs;
  double difference_sum;
  guint8 alarm;
} Pair;

struct _DriftFairnessAudit {
  DriftFairnessAuditSettings settings;
  double threshold; /* ln((groups - 1) / alpha) */
  guint64 skipped;
  Pair *pairs; /* [n_groups]; the reference's own is not used */
};

static gboolean settings_fit(const DriftFairnessAuditSettings *settings)
{
  return settings->alpha > 0 && settings->alpha < 1 && settings->margin >= 0 && settings->margin < 1 &&
         settings->n_groups >= 2 && settings->n_groups <= MAX_GROUPS && settings->reference < settings->n_groups;
}

DriftFairnessAudit *drift_fairness_audit_new(const DriftFairnessAuditSettings *settings, GError **error)
{
  if (!settings_fit(settings)) {
    g_set_error(error, DRIFT_ERROR, DRIFT_ERROR_INVALID,
                "fairness audit: alpha lies between 0 and 1, the margin in [0, 1), groups are 2 to %u with the "
                "reference among them",
                MAX_GROUPS);
    return NULL;
  }
  DriftFairnessAudit *audit = g_new0(DriftFairnessAudit, 1);
  audit->settings = *settings;
  audit->threshold = log((settings->n_groups - 1) / settings->alpha);
  audit->pairs = g_new0(Pair, settings->n_groups);
  drift_fairness_audit_reset(audit);
  return audit;
}

void drift_fairness_audit_free(DriftFairnessAudit *audit)
{
  if (audit == NULL) return;
  g_free(audit->pairs);
  g_free(audit);
}

void drift_fairness_audit_reset(DriftFairnessAudit *audit)
{
  audit->skipped = 0;
  for (guint i = 0; i < audit->settings.n_groups; i++) audit->pairs[i] = (Pair){.up = {0, 0, 1}, .down = {0, 0, 1}};
}

gboolean drift_fairness_audit_is_like(const DriftFairnessAudit *audit, const DriftFairnessAudit *other)
{
  const DriftFairnessAuditSettings *a = &audit->settings, *b = &other->settings;
  return a->alpha == b->alpha && a->margin == b->margin && a->n_groups == b->n_groups && a->reference == b->reference;
}

/* payoff in [-1, 1] with mean <= 0 under the null, so only bets >= 0 keep the wealth a supermartingale. */
static void place_bet(Bet *bet, double payoff)
{
  bet->log_wealth += log1p(bet->bet * payoff);
  double gradient = payoff / (1 + bet->bet * payoff);
  bet->squares += gradient * gradient;
  bet->bet = CLAMP(bet->bet + newton_step * gradient / bet->squares, 0, .5);
}

static gboolean settle(DriftFairnessAudit *audit, Pair *pair, double difference)
{
  double margin = audit->settings.margin;
  /* With a margin the payoff's range grows to 1 + margin; scaled back, the bet stays within its bounds. */
  place_bet(&pair->up, (difference - margin) / (1 + margin));
  place_bet(&pair->down, (-difference - margin) / (1 + margin));
  pair->n_pairs++;
  pair->difference_sum += difference;
  double larger = fmax(pair->up.log_wealth, pair->down.log_wealth);
  double smaller = fmin(pair->up.log_wealth, pair->down.log_wealth);
  pair->best = fmax(pair->best, larger + log1p(exp(smaller - larger)) - G_LN2);
  if (pair->alarm || pair->best < audit->threshold) return FALSE;
  pair->alarm = TRUE;
  return TRUE;
}

/* Rows of one side wait as a mean until one of the other side comes: all rows count, in constant memory, and the
 * pairing does not look at outcomes. */
static gboolean add_row(DriftFairnessAudit *audit, Pair *pair, gboolean is_reference, double outcome)
{
  if (pair->waiting == 0 || pair->reference_waits == is_reference) {
    pair->reference_waits = (guint8)is_reference;
    pair->waiting_sum += outcome;
    pair->waiting++;
    return FALSE;
  }
  double waited = pair->waiting_sum / (double)pair->waiting;
  *(is_reference ? &pair->n : &pair->n_reference) += pair->waiting;
  *(is_reference ? &pair->n_reference : &pair->n) += 1;
  pair->waiting = 0;
  pair->waiting_sum = 0;
  return settle(audit, pair, is_reference ? waited - outcome : outcome - waited);
}

gboolean drift_fairness_audit_update(DriftFairnessAudit *audit, guint group, double outcome)
{
  if (group >= audit->settings.n_groups || !(outcome >= 0 && outcome <= 1)) {
    audit->skipped++;
    return FALSE;
  }
  if (group != audit->settings.reference) return add_row(audit, &audit->pairs[group], FALSE, outcome);
  gboolean alarm = FALSE;
  for (guint i = 0; i < audit->settings.n_groups; i++)
    if (i != group) alarm |= add_row(audit, &audit->pairs[i], TRUE, outcome);
  return alarm;
}

void drift_fairness_audit_get(const DriftFairnessAudit *audit, guint group, DriftFairnessEvidence *evidence)
{
  g_return_if_fail(group < audit->settings.n_groups);
  const Pair *pair = &audit->pairs[group];
  double log_groups = audit->threshold + log(audit->settings.alpha);
  *evidence =
      (DriftFairnessEvidence){.log_evidence = pair->best,
                              .p = fmin(1, exp(log_groups - pair->best)),
                              .n = pair->n,
                              .n_reference = pair->n_reference,
                              .mean_difference = pair->n_pairs > 0 ? pair->difference_sum / (double)pair->n_pairs : NAN,
                              .alarm = pair->alarm};
}

guint64 drift_fairness_audit_get_skipped(const DriftFairnessAudit *audit)
{
  return audit->skipped;
}

/* --- bytes -------------------------------------------------------------------------------------------------------- */

static void put_bet(GByteArray *out, const Bet *bet)
{
  drift_put_double(out, bet->log_wealth);
  drift_put_double(out, bet->bet);
  drift_put_double(out, bet->squares);
}

GBytes *drift_fairness_audit_to_bytes(const DriftFairnessAudit *audit)
{
  g_autoptr(GByteArray) raw = g_byte_array_new();
  drift_put_double(raw, audit->settings.alpha);
  drift_put_double(raw, audit->settings.margin);
  drift_put_u32(raw, audit->settings.n_groups);
  drift_put_u32(raw, audit->settings.reference);
  drift_put_u64(raw, audit->skipped);
  for (guint i = 0; i < audit->settings.n_groups; i++) {
    const Pair *pair = &audit->pairs[i];
    put_bet(raw, &pair->up);
    put_bet(raw, &pair->down);
    drift_put_double(raw, pair->best);
    drift_put_double(raw, pair->waiting_sum);
    drift_put_u64(raw, pair->waiting);
    drift_put_u8(raw, pair->reference_waits);
    drift_put_u64(raw, pair->n);
    drift_put_u64(raw, pair->n_reference);
    drift_put_u64(raw, pair->n_pairs);
    drift_put_double(raw, pair->difference_sum);
    drift_put_u8(raw, pair->alarm);
  }
  return drift_frame_pack(MAGIC, VERSION, raw);
}

static gboolean get_bet(DriftReader *reader, Bet *bet)
{
  bet->log_wealth = drift_get_double(reader);
  bet->bet = drift_get_double(reader);
  bet->squares = drift_get_double(reader);
  return isfinite(bet->log_wealth) && bet->bet >= 0 && bet->bet <= .5 && bet->squares >= 1 && isfinite(bet->squares);
}

static gboolean get_pair(DriftReader *reader, Pair *pair)
{
  gboolean fits = get_bet(reader, &pair->up);
  fits &= get_bet(reader, &pair->down);
  pair->best = drift_get_double(reader);
  pair->waiting_sum = drift_get_double(reader);
  pair->waiting = drift_get_u64(reader);
  pair->reference_waits = drift_get_u8(reader);
  pair->n = drift_get_u64(reader);
  pair->n_reference = drift_get_u64(reader);
  pair->n_pairs = drift_get_u64(reader);
  pair->difference_sum = drift_get_double(reader);
  pair->alarm = drift_get_u8(reader);
  return fits && pair->best >= 0 && isfinite(pair->best) && pair->waiting_sum >= 0 &&
         pair->waiting_sum <= (double)pair->waiting && fabs(pair->difference_sum) <= (double)pair->n_pairs &&
         pair->reference_waits <= 1 && pair->alarm <= 1;
}

static DriftFairnessAudit *read_audit(DriftReader *reader)
{
  DriftFairnessAuditSettings settings;
  settings.alpha = drift_get_double(reader);
  settings.margin = drift_get_double(reader);
  settings.n_groups = drift_get_u32(reader);
  settings.reference = drift_get_u32(reader);
  g_autoptr(DriftFairnessAudit) audit = reader->failed ? NULL : drift_fairness_audit_new(&settings, NULL);
  if (audit == NULL) return NULL;
  audit->skipped = drift_get_u64(reader);
  for (guint i = 0; i < settings.n_groups; i++)
    if (!get_pair(reader, &audit->pairs[i])) return NULL;
  return reader->failed || drift_reader_left(reader) > 0 ? NULL : g_steal_pointer(&audit);
}

DriftFairnessAudit *drift_fairness_audit_from_bytes(GBytes *bytes, GError **error)
{
  g_autoptr(GBytes) raw = drift_frame_unpack(MAGIC, VERSION, 1 << 20, "fairness audit", bytes, error);
  if (raw == NULL) return NULL;
  gsize length;
  const guint8 *data = g_bytes_get_data(raw, &length);
  DriftReader reader;
  drift_reader_init(&reader, data, length);
  DriftFairnessAudit *audit = read_audit(&reader);
  if (audit == NULL)
    g_set_error(error, DRIFT_ERROR, DRIFT_ERROR_INVALID,
                "fairness audit: the state is not one that this program could have written");
  return audit;
}
