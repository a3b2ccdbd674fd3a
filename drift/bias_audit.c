#include "drift/bias_audit.h"

#include <string.h>

#include "drift/accumulator_internal.h"
#include "drift/bytes_internal.h"

#define MAGIC "KBAU"
#define VERSION 1
#define MAX_BYTES (16u << 20)
#define NO_GROUP G_MAXUINT16

typedef enum { RATE_SELECTION, RATE_TRUE_POSITIVE, RATE_FALSE_POSITIVE, RATE_ERROR, N_RATES } Rate;

const DriftBiasAuditRate drift_bias_audit_rates[] = {
    [RATE_SELECTION] = {"selection_rate", "predicted favourable"},
    [RATE_TRUE_POSITIVE] = {"tpr", "of those labelled favourable, predicted so"},
    [RATE_FALSE_POSITIVE] = {"fpr", "of those labelled unfavourable, predicted favourable"},
    [RATE_ERROR] = {"error_rate", "predicted wrong"},
    [N_RATES] = {NULL, NULL}};

gint drift_bias_audit_rate_find(const gchar *name)
{
  for (guint i = 0; i < N_RATES; i++)
    if (strcmp(drift_bias_audit_rates[i].name, name) == 0) return (gint)i;
  return -1;
}

/* The groups of one sensitive feature, shared by its bets. */
typedef struct {
  gchar *name;
  guint place; /* among the row's groups */
  guint n_codes;
  guint16 *group_of; /* [n_codes] → index of the group, NO_GROUP: not audited */
  GPtrArray *groups; /* names */
} Attribute;

typedef struct {
  const Attribute *attribute;
  Rate rate;
  DriftFairnessAudit *audit; /* the reference is group 0 */
} Bet;

struct _DriftBiasAudit {
  DriftBiasAuditSettings settings;
  gint32 positive;
  GPtrArray *attributes; /* of Attribute* */
  GArray *bets;          /* of Bet */
};

static void attribute_free(gpointer data)
{
  Attribute *attribute = data;
  g_free(attribute->name);
  g_free(attribute->group_of);
  g_ptr_array_unref(attribute->groups);
  g_free(attribute);
}

static Attribute *attribute_new(guint place, guint n_codes)
{
  Attribute *attribute = g_new0(Attribute, 1);
  attribute->place = place;
  attribute->n_codes = n_codes;
  attribute->group_of = g_new(guint16, MAX(n_codes, 1));
  attribute->groups = g_ptr_array_new_with_free_func(g_free);
  for (guint i = 0; i < n_codes; i++) attribute->group_of[i] = NO_GROUP;
  return attribute;
}

static void bet_clear(gpointer data)
{
  drift_fairness_audit_free(((Bet *)data)->audit);
}

static DriftBiasAudit *audit_new(const DriftBiasAuditSettings *settings, gint32 positive)
{
  DriftBiasAudit *audit = g_new0(DriftBiasAudit, 1);
  audit->settings = *settings;
  audit->positive = positive;
  audit->attributes = g_ptr_array_new_with_free_func(attribute_free);
  audit->bets = g_array_new(FALSE, TRUE, sizeof(Bet));
  g_array_set_clear_func(audit->bets, bet_clear);
  return audit;
}

void drift_bias_audit_free(DriftBiasAudit *audit)
{
  if (audit == NULL) return;
  g_array_unref(audit->bets);
  g_ptr_array_unref(audit->attributes);
  g_free(audit);
}

/* --- what is bet on ----------------------------------------------------------------------------------------------- */

static void add_groups(Attribute *attribute, const DriftAccumulator *profile, guint feature, guint least)
{
  const DriftQuantity *quantity = &profile->grid->quantities[feature];
  for (guint code = 0; code < attribute->n_codes; code++) {
    gboolean counted = quantity->kind == DRIFT_CATEGORICAL;
    if (counted && drift_counts_get(&profile->counts[feature], code) < least) continue;
    attribute->group_of[code] = (guint16)attribute->groups->len;
    g_ptr_array_add(attribute->groups, drift_quantity_group_name(quantity, code));
  }
}

static void find_attributes(DriftBiasAudit *audit, const DriftAccumulator *profile)
{
  const DriftGrid *grid = profile->grid;
  for (guint i = 0; i < grid->n_sensitive; i++) {
    guint feature = grid->sensitive[i];
    Attribute *attribute = attribute_new(i, drift_quantity_n_groups(&grid->quantities[feature]));
    attribute->name = g_strdup(drift_grid_quantity_name(grid, feature));
    add_groups(attribute, profile, feature, MAX(audit->settings.minimum_group, 1));
    if (attribute->groups->len >= 2)
      g_ptr_array_add(audit->attributes, attribute);
    else
      attribute_free(attribute);
  }
}

static gboolean place_bets(DriftBiasAudit *audit, GError **error)
{
  guint n_rates = (guint)__builtin_popcount(audit->settings.rates), n_bets = n_rates * audit->attributes->len;
  for (guint i = 0; i < audit->attributes->len; i++) {
    const Attribute *attribute = g_ptr_array_index(audit->attributes, i);
    for (guint rate = 0; rate < N_RATES; rate++) {
      if (!(audit->settings.rates >> rate & 1)) continue;
      DriftFairnessAuditSettings settings = {.alpha = audit->settings.alpha / n_bets,
                                             .margin = audit->settings.margin,
                                             .n_groups = attribute->groups->len};
      Bet bet = {.attribute = attribute, .rate = rate, .audit = drift_fairness_audit_new(&settings, error)};
      if (bet.audit == NULL) return FALSE;
      g_array_append_val(audit->bets, bet);
    }
  }
  return TRUE;
}

static gboolean settings_fit(const DriftBiasAuditSettings *settings)
{
  return settings->alpha > 0 && settings->alpha < 1 && settings->margin >= 0 && settings->margin < 1 &&
         settings->rates != 0 && settings->rates < 1u << N_RATES;
}

DriftBiasAudit *drift_bias_audit_new(const DriftAccumulator *profile, const DriftBiasAuditSettings *settings,
                                     GError **error)
{
  const DriftSchema *schema = profile->grid->schema;
  if (!settings_fit(settings)) {
    g_set_error(error, DRIFT_ERROR, DRIFT_ERROR_INVALID,
                "bias audit: alpha lies between 0 and 1, the margin in [0, 1), and at least one rate is named");
    return NULL;
  }
  const gchar *reason = schema->task != DRIFT_TASK_BINARY ? "it needs decisions between two classes"
                        : profile->grid->n_sensitive == 0 ? "no feature of the model is marked sensitive"
                                                          : NULL;
  g_autoptr(DriftBiasAudit) audit = audit_new(settings, (gint32)schema->positive_class);
  if (reason == NULL) find_attributes(audit, profile);
  if (reason == NULL && audit->attributes->len == 0)
    reason = "no sensitive feature has two groups of minimum_group rows in the reference data";
  if (reason != NULL) {
    g_set_error(error, DRIFT_ERROR, DRIFT_ERROR_UNDEFINED, "no bias audit: %s", reason);
    return NULL;
  }
  return place_bets(audit, error) ? g_steal_pointer(&audit) : NULL;
}

/* --- rows --------------------------------------------------------------------------------------------------------- */

/* The outcome of a row in a rate; FALSE: the rate is not of such rows. */
static gboolean outcome_of(Rate rate, gboolean predicted, gboolean label, double *outcome)
{
  *outcome = rate == RATE_ERROR ? predicted != label : predicted;
  return rate == RATE_TRUE_POSITIVE ? label : rate == RATE_FALSE_POSITIVE ? !label : TRUE;
}

gboolean drift_bias_audit_update(DriftBiasAudit *audit, const DriftLabelRow *row)
{
  if (row->label_class < 0 || row->predicted_class < 0) return FALSE;
  gboolean predicted = row->predicted_class == audit->positive, label = row->label_class == audit->positive;
  gboolean alarm = FALSE;
  for (guint i = 0; i < audit->bets->len; i++) {
    Bet *bet = &g_array_index(audit->bets, Bet, i);
    const Attribute *attribute = bet->attribute;
    guint code = attribute->place < row->n_groups ? row->groups[attribute->place] : NO_GROUP;
    guint group = code < attribute->n_codes ? attribute->group_of[code] : NO_GROUP;
    double outcome;
    if (group == NO_GROUP || !outcome_of(bet->rate, predicted, label, &outcome)) continue;
    alarm |= drift_fairness_audit_update(bet->audit, group, outcome);
  }
  return alarm;
}

guint drift_bias_audit_n(const DriftBiasAudit *audit)
{
  guint n = 0;
  for (guint i = 0; i < audit->bets->len; i++) n += g_array_index(audit->bets, Bet, i).attribute->groups->len - 1;
  return n;
}

void drift_bias_audit_get(const DriftBiasAudit *audit, guint index, DriftBiasAuditFinding *finding)
{
  guint i = 0;
  for (; index >= g_array_index(audit->bets, Bet, i).attribute->groups->len - 1; i++)
    index -= g_array_index(audit->bets, Bet, i).attribute->groups->len - 1;
  const Bet *bet = &g_array_index(audit->bets, Bet, i);
  *finding = (DriftBiasAuditFinding){.attribute = bet->attribute->name,
                                     .rate = drift_bias_audit_rates[bet->rate].name,
                                     .group = g_ptr_array_index(bet->attribute->groups, index + 1),
                                     .reference_group = g_ptr_array_index(bet->attribute->groups, 0)};
  drift_fairness_audit_get(bet->audit, index + 1, &finding->evidence);
  finding->p = MIN(1, finding->evidence.p * audit->bets->len);
}

/* --- bytes -------------------------------------------------------------------------------------------------------- */

static void put_attribute(GByteArray *raw, const Attribute *attribute)
{
  drift_put_string(raw, attribute->name);
  drift_put_u32(raw, attribute->place);
  drift_put_u32(raw, attribute->n_codes);
  drift_put_u32(raw, attribute->groups->len);
  for (guint i = 0; i < attribute->n_codes; i++) drift_put_u16(raw, attribute->group_of[i]);
  for (guint i = 0; i < attribute->groups->len; i++) drift_put_string(raw, g_ptr_array_index(attribute->groups, i));
}

GBytes *drift_bias_audit_to_bytes(const DriftBiasAudit *audit)
{
  g_autoptr(GByteArray) raw = g_byte_array_new();
  drift_put_double(raw, audit->settings.alpha);
  drift_put_double(raw, audit->settings.margin);
  drift_put_u32(raw, audit->settings.rates);
  drift_put_u32(raw, audit->settings.minimum_group);
  drift_put_u32(raw, (guint32)audit->positive);
  drift_put_u32(raw, audit->attributes->len);
  for (guint i = 0; i < audit->attributes->len; i++) put_attribute(raw, g_ptr_array_index(audit->attributes, i));
  for (guint i = 0; i < audit->bets->len; i++) {
    g_autoptr(GBytes) bytes = drift_fairness_audit_to_bytes(g_array_index(audit->bets, Bet, i).audit);
    gsize length;
    const guint8 *data = g_bytes_get_data(bytes, &length);
    drift_put_u32(raw, (guint32)length);
    g_byte_array_append(raw, data, (guint)length);
  }
  return drift_frame_pack(MAGIC, VERSION, raw);
}

static Attribute *get_attribute(DriftReader *reader)
{
  g_autofree gchar *name = drift_get_string(reader, DRIFT_GRID_MAX_TEXT);
  guint place = drift_get_u32(reader), n_codes = drift_get_u32(reader), n_groups = drift_get_u32(reader);
  if (reader->failed || place >= DRIFT_MAX_SENSITIVE || n_codes > DRIFT_GRID_MAX_CATEGORIES || n_groups < 2 ||
      n_groups > n_codes)
    return NULL;
  Attribute *attribute = attribute_new(place, n_codes);
  attribute->name = g_steal_pointer(&name);
  for (guint i = 0; i < n_codes; i++) {
    attribute->group_of[i] = drift_get_u16(reader);
    if (attribute->group_of[i] != NO_GROUP && attribute->group_of[i] >= n_groups) reader->failed = TRUE;
  }
  for (guint i = 0; i < n_groups; i++) {
    gchar *group = drift_get_string(reader, DRIFT_GRID_MAX_TEXT);
    g_ptr_array_add(attribute->groups, group != NULL ? group : g_strdup(""));
  }
  return attribute;
}

static gboolean get_attributes(DriftReader *reader, DriftBiasAudit *audit)
{
  guint n = drift_get_u32(reader);
  if (n == 0 || n > DRIFT_MAX_SENSITIVE) return FALSE;
  for (guint i = 0; i < n; i++) {
    Attribute *attribute = get_attribute(reader);
    if (attribute == NULL) return FALSE;
    g_ptr_array_add(audit->attributes, attribute);
  }
  return !reader->failed;
}

/* The states in place of the fresh ones; each must be of as many groups as its feature has. */
static gboolean get_bets(DriftReader *reader, DriftBiasAudit *audit)
{
  if (!place_bets(audit, NULL)) return FALSE;
  for (guint i = 0; i < audit->bets->len; i++) {
    Bet *bet = &g_array_index(audit->bets, Bet, i);
    guint length = drift_get_u32(reader);
    const guint8 *data = drift_get_block(reader, length);
    g_autoptr(GBytes) bytes = data != NULL ? g_bytes_new(data, length) : NULL;
    DriftFairnessAudit *stored = bytes != NULL ? drift_fairness_audit_from_bytes(bytes, NULL) : NULL;
    gboolean fits = stored != NULL && drift_fairness_audit_is_like(stored, bet->audit);
    drift_fairness_audit_free(fits ? bet->audit : stored);
    if (!fits) return FALSE;
    bet->audit = stored;
  }
  return TRUE;
}

static DriftBiasAudit *read_audit(DriftReader *reader)
{
  DriftBiasAuditSettings settings;
  settings.alpha = drift_get_double(reader);
  settings.margin = drift_get_double(reader);
  settings.rates = drift_get_u32(reader);
  settings.minimum_group = drift_get_u32(reader);
  guint positive = drift_get_u32(reader);
  if (reader->failed || !settings_fit(&settings) || positive > 1) return NULL;
  g_autoptr(DriftBiasAudit) audit = audit_new(&settings, (gint32)positive);
  if (!get_attributes(reader, audit) || !get_bets(reader, audit)) return NULL;
  return reader->failed || drift_reader_left(reader) > 0 ? NULL : g_steal_pointer(&audit);
}

DriftBiasAudit *drift_bias_audit_from_bytes(GBytes *bytes, GError **error)
{
  g_autoptr(GBytes) raw = drift_frame_unpack(MAGIC, VERSION, MAX_BYTES, "bias audit", bytes, error);
  if (raw == NULL) return NULL;
  gsize length;
  const guint8 *data = g_bytes_get_data(raw, &length);
  DriftReader reader;
  drift_reader_init(&reader, data, length);
  DriftBiasAudit *audit = read_audit(&reader);
  if (audit == NULL)
    g_set_error(error, DRIFT_ERROR, DRIFT_ERROR_INVALID,
                "bias audit: the state is not one that this program could have written");
  return audit;
}
