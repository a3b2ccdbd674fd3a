/* See adapt.h. */
#include "daemon/adapt.h"

#include <math.h>
#include <string.h>

#include "daemon/settings.h"
#include "drift/change.h"

enum { BLOCK = 25, MINIMUM_SIDE = 5, MINIMUM_AFTER = 20, LEVEL_MINIMUM = 500, QUIET_PANES = 10, UNKNOWN = 2 };
static const double TAU_UNKNOWN = 2;

typedef struct {
  gint64 version;
  gint64 first;       /* row of errors[0] */
  GByteArray *errors; /* up to the newest row */
} PoolVersion;

struct _Adapt {
  gint64 champion;
  GPtrArray *pool;     /* of PoolVersion*, ascending by version; the first ever stays */
  GArray *versions;    /* of gint64: the pool's versions, for adapt_get_versions */
  gint64 rows;         /* labelled rows seen */
  gint64 errors_since; /* the champion's errors count from this row on (the last change) */
  double promise;      /* NaN: not known yet */
  guint promise_rows;
  gboolean open;        /* a performance incident is open */
  gint64 change;        /* first row of the present regime while its steps last; -1: none */
  guint step;           /* next of settings->steps */
  gint64 last_training; /* row of the last training; -1: none */
  guint quiet;          /* panes in a row without a loss */
};

static void pool_version_free(gpointer data)
{
  PoolVersion *member = data;
  g_byte_array_unref(member->errors);
  g_free(member);
}

static void refresh_versions(Adapt *adapt)
{
  g_array_set_size(adapt->versions, 0);
  for (guint i = 0; i < adapt->pool->len; i++) {
    const PoolVersion *member = g_ptr_array_index(adapt->pool, i);
    g_array_append_val(adapt->versions, member->version);
  }
}

static PoolVersion *find_member(const Adapt *adapt, gint64 version)
{
  for (guint i = 0; i < adapt->pool->len; i++) {
    PoolVersion *member = g_ptr_array_index(adapt->pool, i);
    if (member->version == version) return member;
  }
  return NULL;
}

static gint compare_members(gconstpointer a, gconstpointer b)
{
  const PoolVersion *left = *(PoolVersion *const *)a, *right = *(PoolVersion *const *)b;
  return (left->version > right->version) - (left->version < right->version);
}

static PoolVersion *add_member(Adapt *adapt, gint64 version)
{
  PoolVersion *member = g_new0(PoolVersion, 1);
  member->version = version;
  member->first = adapt->rows;
  member->errors = g_byte_array_new();
  g_ptr_array_add(adapt->pool, member);
  g_ptr_array_sort(adapt->pool, compare_members);
  refresh_versions(adapt);
  return member;
}

static Adapt *adapt_alloc(void)
{
  Adapt *adapt = g_new0(Adapt, 1);
  adapt->pool = g_ptr_array_new_with_free_func(pool_version_free);
  adapt->versions = g_array_new(FALSE, FALSE, sizeof(gint64));
  adapt->change = adapt->last_training = -1;
  return adapt;
}

Adapt *adapt_new(gint64 champion, double promise, guint promise_rows)
{
  Adapt *adapt = adapt_alloc();
  adapt->champion = champion;
  adapt->promise = promise_rows > 0 ? promise : NAN;
  adapt->promise_rows = isnan(adapt->promise) ? 0 : promise_rows;
  add_member(adapt, champion);
  return adapt;
}

void adapt_begin_at(Adapt *adapt, gint64 row)
{
  adapt->rows = adapt->errors_since = row;
  for (guint i = 0; i < adapt->pool->len; i++) ((PoolVersion *)g_ptr_array_index(adapt->pool, i))->first = row;
}

void adapt_free(Adapt *adapt)
{
  if (!adapt) return;
  g_ptr_array_unref(adapt->pool);
  g_array_unref(adapt->versions);
  g_free(adapt);
}

const gint64 *adapt_get_versions(const Adapt *adapt, guint *n)
{
  *n = adapt->versions->len;
  return (const gint64 *)(void *)adapt->versions->data;
}

gint64 adapt_get_champion(const Adapt *adapt)
{
  return adapt->champion;
}

gint64 adapt_get_rows(const Adapt *adapt)
{
  return adapt->rows;
}

gboolean adapt_is_open(const Adapt *adapt)
{
  return adapt->open;
}

/* --- figures ---------------------------------------------------------------------------------------------------- */

/* The member's errors on [first, adapt->rows), cut to where they are known without a gap; *n gets their number. */
static const guint8 *known_errors(const Adapt *adapt, const PoolVersion *member, gint64 first, guint *n)
{
  first = MAX(first, member->first);
  guint from = (guint)MIN(first - member->first, (gint64)member->errors->len), to = member->errors->len;
  for (guint i = to; i > from; i--)
    if (member->errors->data[i - 1] == UNKNOWN) {
      from = i;
      break;
    }
  g_assert(member->first + to == adapt->rows || member->errors->len == 0);
  *n = to - from;
  return member->errors->data + from;
}

static double mean_error(const guint8 *errors, guint n)
{
  guint sum = 0;
  for (guint i = 0; i < n; i++) sum += errors[i];
  return n ? sum / (double)n : NAN;
}

double adapt_get_autocorrelation(const Adapt *adapt)
{
  guint n = 0;
  const guint8 *errors = known_errors(adapt, find_member(adapt, adapt->champion), adapt->rows - ADAPT_HISTORY, &n);
  return drift_error_autocorrelation(errors, n);
}

/* Mean of champion's minus challenger's errors and its standard error, the larger of the independent and of the
 * block estimate. */
static double paired_gain(const guint8 *champion, const guint8 *challenger, guint n, double *standard_error)
{
  double sum = 0, squares = 0, differences = 0, previous = 0;
  guint n_blocks = n / BLOCK, skip = n - n_blocks * BLOCK;
  for (guint i = 0; i < n; i++) {
    double d = (double)champion[i] - challenger[i];
    sum += d;
    squares += d * d;
  }
  double mean = sum / n, variance = MAX(squares / n - mean * mean, 0) / n;
  for (guint b = 0; n_blocks >= 4 && b < n_blocks; b++) {
    double block = 0;
    for (guint i = skip + b * BLOCK; i < skip + (b + 1) * BLOCK; i++) block += (double)champion[i] - challenger[i];
    block /= BLOCK;
    if (b > 0) differences += (block - previous) * (block - previous);
    previous = block;
  }
  if (n_blocks >= 4) variance = MAX(variance, differences / (n_blocks - 1) / 2 / n_blocks);
  *standard_error = sqrt(variance);
  return mean;
}

gboolean adapt_compare(const Adapt *adapt, gint64 other, guint n, double *gain, double *standard_error)
{
  guint ours = 0, theirs = 0;
  const PoolVersion *member = find_member(adapt, other);
  const guint8 *a = known_errors(adapt, find_member(adapt, adapt->champion), adapt->rows - n, &ours);
  const guint8 *b = member ? known_errors(adapt, member, adapt->rows - n, &theirs) : NULL;
  if (n == 0 || ours != n || theirs != n) return FALSE;
  *gain = paired_gain(a, b, n, standard_error);
  return TRUE;
}

/* The pool's best member on the rows since `first` (at least `minimum` of them known for it and for the champion). */
static PoolVersion *best_member(const Adapt *adapt, gint64 first, guint minimum)
{
  PoolVersion *best = NULL;
  double lowest = INFINITY;
  for (guint i = 0; i < adapt->pool->len; i++) {
    PoolVersion *member = g_ptr_array_index(adapt->pool, i);
    guint n = 0;
    const guint8 *errors = known_errors(adapt, member, first, &n);
    if (n < minimum || n < adapt->rows - first) continue;
    double error = mean_error(errors, n);
    if (error <= lowest) { /* ties go to the newer version */
      lowest = error;
      best = member;
    }
  }
  return best;
}

/* --- detection -------------------------------------------------------------------------------------------------- */

static void detect_change(const Adapt *adapt, const AdaptSettings *settings, AdaptStep *step)
{
  guint n = 0, split = 0, n_recent = 0;
  const PoolVersion *champion = find_member(adapt, adapt->champion);
  const guint8 *errors = known_errors(adapt, champion, MAX(adapt->errors_since, adapt->rows - ADAPT_HISTORY), &n);
  step->threshold = log(settings->per_rows / settings->budget) + ADAPT_GLR_MARGIN;
  if (n < 2 * MINIMUM_SIDE) return;
  double statistic = 0;
  drift_glr(errors, n, MINIMUM_SIDE, TRUE, &statistic, &split);
  double tau = drift_error_autocorrelation(errors, split);
  if (isnan(tau)) {
    const guint8 *recent = known_errors(adapt, champion, adapt->rows - ADAPT_HISTORY, &n_recent);
    tau = drift_error_autocorrelation(recent, n_recent);
  }
  step->glr = statistic;
  step->tau = isnan(tau) ? TAU_UNKNOWN : tau;
  step->change_row = adapt->rows - n + split;
  step->n_before = split;
  step->n_after = n - split;
  step->error_before = mean_error(errors, split);
  step->error_after = mean_error(errors + split, n - split);
  step->alarm = statistic / step->tau > step->threshold && n - split >= MINIMUM_AFTER;
}

static void detect_loss(Adapt *adapt, const AdaptSettings *settings, AdaptStep *step)
{
  guint n = 0, n_long = 0;
  const PoolVersion *champion = find_member(adapt, adapt->champion);
  const guint8 *errors = known_errors(adapt, champion, adapt->rows - ADAPT_LEVEL_ROWS, &n);
  step->level_error = mean_error(errors, n);
  step->level_rows = n;
  if (isnan(adapt->promise) && n >= ADAPT_LEVEL_ROWS) {
    adapt->promise = step->level_error;
    adapt->promise_rows = n;
  }
  step->promise = adapt->promise;
  if (n < LEVEL_MINIMUM || isnan(adapt->promise)) return;
  const guint8 *longer = known_errors(adapt, champion, adapt->rows - ADAPT_HISTORY, &n_long);
  double tau = drift_error_autocorrelation(longer, n_long);
  if (isnan(tau)) tau = TAU_UNKNOWN;
  double e = step->level_error, p = adapt->promise;
  double variance = tau * MAX(e * (1 - e), .01) / n + MAX(p * (1 - p), .01) / adapt->promise_rows;
  step->level_z = (e - p - settings->promise_margin) / sqrt(variance);
  step->level_alarm = step->level_z > settings->level_z;
}

/* --- decisions -------------------------------------------------------------------------------------------------- */

static void propose(Adapt *adapt, AdaptStep *step, const PoolVersion *best, const gchar *why, double gain,
                    const guint8 *champion, const guint8 *challenger, guint n)
{
  step->promote = best->version;
  step->promote_why = why;
  step->promote_gain = gain;
  step->promote_rows = n;
  step->promote_error = mean_error(challenger, n);
  step->champion_error = mean_error(champion, n);
  adapt->champion = best->version;
}

/* After an alarm: has an older version already taken the new world's measure? */
static gboolean recall(Adapt *adapt, const AdaptSettings *settings, AdaptStep *step)
{
  PoolVersion *champion = find_member(adapt, adapt->champion);
  PoolVersion *best = best_member(adapt, MAX(step->change_row, adapt->rows - 500), MINIMUM_AFTER);
  if (settings->pool == 0 || !best || best == champion) return FALSE;
  guint n = 0, m = 0;
  const guint8 *ours = known_errors(adapt, champion, step->change_row, &n);
  const guint8 *theirs = known_errors(adapt, best, step->change_row, &m);
  if (m < MINIMUM_AFTER) return FALSE;
  if (n > m) ours += n - m;
  double standard_error = 0, gain = paired_gain(ours, theirs, m, &standard_error);
  if (!(gain > 2 * standard_error) || mean_error(theirs, m) > step->error_before + settings->recall_slack) return FALSE;
  propose(adapt, step, best, "recall", gain, ours, theirs, m);
  return TRUE;
}

static void compare_pool(Adapt *adapt, const AdaptSettings *settings, AdaptStep *step)
{
  gint64 first = MAX(adapt->rows - settings->pool_rows, adapt->change);
  guint n = 0, m = 0;
  if (settings->pool == 0 || first < 0 || adapt->rows - first < settings->pool_rows / 2) return;
  PoolVersion *champion = find_member(adapt, adapt->champion),
              *best = best_member(adapt, first, settings->pool_rows / 2);
  if (!best || best == champion) return;
  const guint8 *ours = known_errors(adapt, champion, first, &n);
  const guint8 *theirs = known_errors(adapt, best, first, &m);
  if (n != m) return;
  double standard_error = 0, gain = paired_gain(ours, theirs, n, &standard_error);
  if (gain < settings->pool_margin || !(gain > settings->pool_z * standard_error)) return;
  propose(adapt, step, best, "pool", gain, ours, theirs, n);
}

/* Opens or closes the incident and starts a regime at the change point. */
static void follow_incident(Adapt *adapt, const AdaptSettings *settings, AdaptStep *step)
{
  if (step->alarm) {
    adapt->errors_since = step->change_row;
    adapt->quiet = 0;
    if (recall(adapt, settings, step)) {
      adapt->change = -1;
    } else {
      adapt->change = step->change_row;
      adapt->step = 0;
    }
  }
  if (!adapt->open && (step->alarm || step->level_alarm)) {
    step->opened = adapt->open = TRUE;
    adapt->quiet = 0;
  }
  if (!adapt->open) return;
  gboolean well =
      adapt->change < 0 && !isnan(adapt->promise) && step->level_error <= adapt->promise + settings->promise_margin / 2;
  adapt->quiet = well ? adapt->quiet + 1 : 0;
  if (adapt->quiet < QUIET_PANES) return;
  adapt->open = FALSE;
  adapt->quiet = 0;
  step->closed = TRUE;
}

static gboolean training_due(Adapt *adapt, const AdaptSettings *settings)
{
  if (adapt->change < 0)
    return adapt->open && settings->refresh_rows > 0 &&
           (adapt->last_training < 0 || adapt->rows - adapt->last_training >= settings->refresh_rows);
  gint64 since = adapt->rows - adapt->change;
  if (adapt->step >= ADAPT_MAXIMUM_STEPS || settings->steps[adapt->step] == 0) {
    adapt->change = -1; /* the regime's steps are done: from now on it is refreshed like any slow loss */
    return FALSE;
  }
  if (since < settings->steps[adapt->step]) return FALSE;
  while (adapt->step < ADAPT_MAXIMUM_STEPS && settings->steps[adapt->step] && since >= settings->steps[adapt->step])
    adapt->step++;
  return TRUE;
}

static void plan_training(Adapt *adapt, const AdaptSettings *settings, AdaptStep *step)
{
  if (!training_due(adapt, settings) || settings->served) return;
  adapt->last_training = adapt->rows;
  gboolean abrupt = adapt->change >= 0;
  gint64 first = abrupt ? adapt->change : adapt->rows - settings->refresh_window;
  first = MAX(MAX(first, adapt->rows - (gint64)settings->maximum_rows), 0);
  if (adapt->rows - first < settings->minimum_rows) return;
  if (!abrupt || adapt->rows - adapt->change <= settings->refit_until) {
    step->training = ADAPT_TRAIN_REFIT;
  } else {
    guint n = 0;
    const guint8 *errors = known_errors(adapt, find_member(adapt, adapt->champion), MAX(first, adapt->rows - 500), &n);
    double error = mean_error(errors, n);
    if (!isnan(adapt->promise) && !isnan(error) && error <= adapt->promise + settings->retrain_need) return;
    step->training = ADAPT_TRAIN_RETRAIN;
  }
  step->training_first = first;
  step->training_next = adapt->rows;
}

static void append_errors(Adapt *adapt, const guint8 *const *errors, guint n_rows)
{
  for (guint i = 0; i < adapt->pool->len; i++) {
    PoolVersion *member = g_ptr_array_index(adapt->pool, i);
    g_byte_array_append(member->errors, errors[i], n_rows);
    if (member->errors->len > ADAPT_HISTORY) {
      guint surplus = member->errors->len - ADAPT_HISTORY;
      g_byte_array_remove_range(member->errors, 0, surplus);
      member->first += surplus;
    }
  }
  adapt->rows += n_rows;
}

void adapt_pane(Adapt *adapt, const AdaptSettings *settings, const guint8 *const *errors, guint n_rows, AdaptStep *step)
{
  *step = (AdaptStep){.glr = NAN, .tau = NAN, .level_error = NAN, .level_z = NAN, .promise = NAN, .change_row = -1};
  append_errors(adapt, errors, n_rows);
  detect_change(adapt, settings, step);
  detect_loss(adapt, settings, step);
  follow_incident(adapt, settings, step);
  plan_training(adapt, settings, step);
  if (!step->promote) compare_pool(adapt, settings, step);
}

/* --- versions --------------------------------------------------------------------------------------------------- */

static void evict(Adapt *adapt, const AdaptSettings *settings, gint64 keep)
{
  guint limit = MAX(settings->pool, 1);
  for (guint i = 1; adapt->pool->len > limit && i < adapt->pool->len;) {
    const PoolVersion *member = g_ptr_array_index(adapt->pool, i);
    if (member->version == adapt->champion || member->version == keep)
      i++;
    else
      g_ptr_array_remove_index(adapt->pool, i);
  }
  refresh_versions(adapt);
}

/* One series of errors, whatever serves: the champion's goes on under the new number. */
static void follow_served(Adapt *adapt, gint64 version)
{
  PoolVersion *champion = find_member(adapt, adapt->champion);
  g_return_if_fail(champion != NULL);
  for (guint i = adapt->pool->len; i-- > 0;)
    if (g_ptr_array_index(adapt->pool, i) != champion) g_ptr_array_remove_index(adapt->pool, i);
  adapt->champion = champion->version = version;
  refresh_versions(adapt);
}

void adapt_set_champion(Adapt *adapt, const AdaptSettings *settings, gint64 version)
{
  if (settings->served) {
    follow_served(adapt, version);
    return;
  }
  if (!find_member(adapt, version)) add_member(adapt, version);
  adapt->champion = version;
  evict(adapt, settings, version);
}

void adapt_add_version(Adapt *adapt, const AdaptSettings *settings, gint64 version, gboolean promoted)
{
  if (settings->served) {
    if (promoted) follow_served(adapt, version);
    return;
  }
  if (!find_member(adapt, version)) add_member(adapt, version);
  if (promoted) {
    adapt->champion = version;
    if (adapt->change >= 0) adapt->errors_since = MAX(adapt->errors_since, adapt->change);
  }
  evict(adapt, settings, version);
}

void adapt_set_errors(Adapt *adapt, gint64 version, gint64 first, const guint8 *errors, guint n)
{
  PoolVersion *member = find_member(adapt, version);
  if (!member || n == 0) return;
  gint64 oldest = MAX(adapt->rows - ADAPT_HISTORY, 0), start = MAX(MIN(first, member->first), oldest);
  guint8 *merged = g_malloc((gsize)(adapt->rows - start) + 1);
  memset(merged, UNKNOWN, (gsize)(adapt->rows - start));
  for (guint i = 0; i < member->errors->len; i++)
    if (member->first + i >= start) merged[member->first + i - start] = member->errors->data[i];
  for (guint i = 0; i < n; i++)
    if (first + i >= start && first + i < adapt->rows) merged[first + i - start] = errors[i];
  g_byte_array_set_size(member->errors, 0);
  g_byte_array_append(member->errors, merged, (guint)(adapt->rows - start));
  member->first = start;
  g_free(merged);
}

/* --- state ------------------------------------------------------------------------------------------------------ */

/* Errors as one character a row: the store compresses, and a person can read it. */
static json_t *errors_to_json(const GByteArray *errors)
{
  g_autofree gchar *text = g_malloc(errors->len + 1);
  for (guint i = 0; i < errors->len; i++) text[i] = (gchar)('0' + errors->data[i]);
  text[errors->len] = '\0';
  return json_string(text);
}

json_t *adapt_to_json(const Adapt *adapt)
{
  json_t *pool = json_array();
  for (guint i = 0; i < adapt->pool->len; i++) {
    const PoolVersion *member = g_ptr_array_index(adapt->pool, i);
    json_array_append_new(pool, json_pack("{s:I, s:I, s:o}", "version", (json_int_t)member->version, "first",
                                          (json_int_t)member->first, "errors", errors_to_json(member->errors)));
  }
  return json_pack("{s:I, s:o, s:I, s:I, s:o, s:i, s:b, s:I, s:i, s:I, s:i}", "champion", (json_int_t)adapt->champion,
                   "pool", pool, "rows", (json_int_t)adapt->rows, "errors_since", (json_int_t)adapt->errors_since,
                   "promise", isnan(adapt->promise) ? json_null() : json_real(adapt->promise), "promise_rows",
                   (int)adapt->promise_rows, "open", adapt->open, "change", (json_int_t)adapt->change, "step",
                   (int)adapt->step, "last_training", (json_int_t)adapt->last_training, "quiet", (int)adapt->quiet);
}

static gboolean restore_member(Adapt *adapt, const json_t *json)
{
  json_int_t version = 0, first = 0;
  const char *errors = NULL;
  if (json_unpack((json_t *)json, "{s:I, s:I, s:s}", "version", &version, "first", &first, "errors", &errors) != 0)
    return FALSE;
  if (first < 0 || first + (json_int_t)strlen(errors) != adapt->rows) return FALSE;
  PoolVersion *member = add_member(adapt, version);
  member->first = first;
  for (const char *c = errors; *c; c++) {
    guint8 bit = (guint8)(*c - '0');
    if (bit > UNKNOWN) return FALSE;
    g_byte_array_append(member->errors, &bit, 1);
  }
  return TRUE;
}

Adapt *adapt_from_json(const json_t *json, GError **error)
{
  g_autoptr(Adapt) adapt = adapt_alloc();
  json_int_t champion = 0, rows = 0, since = 0, change = 0, last = 0;
  json_t *pool = NULL, *promise = NULL;
  int promise_rows = 0, open = 0, step = 0, quiet = 0;
  gboolean good = json_unpack((json_t *)json, "{s:I, s:o, s:I, s:I, s:o, s:i, s:b, s:I, s:i, s:I, s:i}", "champion",
                              &champion, "pool", &pool, "rows", &rows, "errors_since", &since, "promise", &promise,
                              "promise_rows", &promise_rows, "open", &open, "change", &change, "step", &step,
                              "last_training", &last, "quiet", &quiet) == 0;
  if (good) {
    adapt->champion = champion;
    adapt->rows = rows;
    adapt->errors_since = since;
    adapt->promise = json_is_number(promise) ? json_number_value(promise) : NAN;
    adapt->promise_rows = (guint)promise_rows;
    adapt->open = open;
    adapt->change = change;
    adapt->step = (guint)step;
    adapt->last_training = last;
    adapt->quiet = (guint)quiet;
    for (size_t i = 0; good && i < json_array_size(pool); i++) good = restore_member(adapt, json_array_get(pool, i));
    good = good && find_member(adapt, champion);
  }
  if (good) return g_steal_pointer(&adapt);
  g_set_error(error, DAEMON_ERROR, DAEMON_ERROR_STATE,
              "the stored state of the adaptation policy cannot be read: it was written by another release or damaged; "
              "run `kedge verify`");
  return NULL;
}
