#include "drift/kll.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "drift/bytes_internal.h"
#include "drift/schema.h"

#define MAGIC "KKLL"
#define VERSION 1
#define MIN_LEVEL 8u                  /* smallest capacity of a level */
#define MAX_LEVELS 60u                /* weights 2^level stay in 64 bits */
#define MAX_VALUES ((guint64)1 << 53) /* so that no state reaches MAX_LEVELS: its top level is never empty */
#define MAX_BYTES (64u << 20)

/* Values of weight 2^level; level 0 in order of arrival, the others ascending. */
typedef struct {
  double *values;
  guint n, allocated;
} Level;

struct _DriftKll {
  guint k, n_levels;
  guint retained, budget; /* values kept; how many may be before the next compaction */
  guint64 n, missing;
  guint64 random; /* state of the coins */
  double min, max;
  Level levels[MAX_LEVELS];
  guint capacity[MAX_LEVELS]; /* of each level, with n_levels of them */
};

/* Levels shrink by 2/3 downwards from the top, which has k. */
static guint level_capacity(guint k, guint n_levels, guint level)
{
  guint depth = n_levels - level - 1;
  return MAX(MIN_LEVEL, (guint)(k * pow(2.0 / 3, depth) + .5));
}

static void set_levels(DriftKll *sketch, guint n_levels)
{
  sketch->n_levels = n_levels;
  sketch->budget = 0;
  for (guint level = 0; level < n_levels; level++)
    sketch->budget += sketch->capacity[level] = level_capacity(sketch->k, n_levels, level);
}

DriftKll *drift_kll_new(guint k, guint64 seed, GError **error)
{
  if (k < DRIFT_KLL_MIN_K || k > DRIFT_KLL_MAX_K) {
    g_set_error(error, DRIFT_ERROR, DRIFT_ERROR_INVALID, "KLL sketch: k is %u to %u, not %u", DRIFT_KLL_MIN_K,
                DRIFT_KLL_MAX_K, k);
    return NULL;
  }
  DriftKll *sketch = g_new0(DriftKll, 1);
  sketch->k = k;
  set_levels(sketch, 1);
  sketch->random = seed;
  sketch->min = sketch->max = NAN;
  return sketch;
}

void drift_kll_free(DriftKll *sketch)
{
  if (sketch == NULL) return;
  for (guint i = 0; i < MAX_LEVELS; i++) g_free(sketch->levels[i].values);
  g_free(sketch);
}

static gboolean coin(DriftKll *sketch)
{
  guint64 z = sketch->random += G_GUINT64_CONSTANT(0x9e3779b97f4a7c15); /* splitmix64 */
  z = (z ^ z >> 30) * G_GUINT64_CONSTANT(0xbf58476d1ce4e5b9);
  z = (z ^ z >> 27) * G_GUINT64_CONSTANT(0x94d049bb133111eb);
  return (z ^ z >> 31) >> 63;
}

static void reserve(Level *level, guint n)
{
  if (n <= level->allocated) return;
  level->allocated = MAX(n, level->allocated * 2);
  level->values = g_renew(double, level->values, level->allocated);
}

static gint ascending(const void *a, const void *b)
{
  double left = *(const double *)a, right = *(const double *)b;
  return (left > right) - (left < right);
}

static void sort_values(double *values, guint n)
{
  if (n > 64) {
    qsort(values, n, sizeof *values, ascending);
    return;
  }
  for (guint i = 1; i < n; i++) {
    double value = values[i];
    guint at = i;
    for (; at > 0 && values[at - 1] > value; at--) values[at] = values[at - 1];
    values[at] = value;
  }
}

/* Merges n ascending values into a level, from the back, in place. */
static void merge_into(Level *level, const double *values, guint n)
{
  reserve(level, level->n + n);
  guint i = level->n, j = n;
  level->n += n;
  for (guint at = level->n; j > 0;) {
    gboolean own = i > 0 && level->values[i - 1] > values[j - 1];
    level->values[--at] = own ? level->values[--i] : values[--j];
  }
}

/* Half of a level's values, every second one from a coin, go up with twice the weight; of an odd number the smallest
 * stays. */
static void compact(DriftKll *sketch, guint index)
{
  Level *level = &sketch->levels[index];
  if (index + 1 == sketch->n_levels) set_levels(sketch, sketch->n_levels + 1);
  if (index == 0) sort_values(level->values, level->n);
  guint odd = level->n % 2, half = level->n / 2, offset = odd + coin(sketch);
  /* Written over the level's own front: index i is read at 2 i + offset >= i. */
  double stays = level->values[0];
  double *kept = level->values;
  for (guint i = 0; i < half; i++) kept[i] = kept[2 * i + offset];
  merge_into(&sketch->levels[index + 1], kept, half);
  level->values[0] = stays;
  level->n = odd;
  sketch->retained -= half;
}

/* The lowest level that is full; there is one whenever the budget is used up. */
static void compact_lowest(DriftKll *sketch)
{
  guint level = 0;
  while (level + 1 < sketch->n_levels && sketch->levels[level].n < sketch->capacity[level]) level++;
  compact(sketch, level);
}

static void note_range(DriftKll *sketch, double low, double high)
{
  sketch->min = isnan(sketch->min) || low < sketch->min ? low : sketch->min;
  sketch->max = isnan(sketch->max) || high > sketch->max ? high : sketch->max;
}

void drift_kll_update(DriftKll *sketch, double value)
{
  if (isnan(value)) {
    sketch->missing++;
    return;
  }
  if (sketch->retained >= sketch->budget) compact_lowest(sketch);
  Level *level = &sketch->levels[0];
  reserve(level, level->n + 1);
  level->values[level->n++] = value;
  sketch->retained++;
  sketch->n++;
  note_range(sketch, value, value);
}

gboolean drift_kll_merge(DriftKll *sketch, const DriftKll *other, GError **error)
{
  g_return_val_if_fail(sketch != other, FALSE);
  if (sketch->n + other->n > MAX_VALUES) {
    g_set_error(error, DRIFT_ERROR, DRIFT_ERROR_LIMIT, "KLL sketch: together more than 2^53 values");
    return FALSE;
  }
  sketch->missing += other->missing;
  if (other->n == 0) return TRUE;
  sketch->k = MIN(sketch->k, other->k);
  set_levels(sketch, MAX(sketch->n_levels, other->n_levels));
  for (guint i = 0; i < other->n_levels; i++) {
    const Level *from = &other->levels[i];
    Level *to = &sketch->levels[i];
    if (i == 0) {
      reserve(to, to->n + from->n);
      if (from->n > 0) memcpy(to->values + to->n, from->values, from->n * sizeof(double));
      to->n += from->n;
    } else if (from->n > 0) {
      merge_into(to, from->values, from->n);
    }
    sketch->retained += from->n;
  }
  sketch->n += other->n;
  note_range(sketch, other->min, other->max);
  while (sketch->retained > sketch->budget) compact_lowest(sketch);
  return TRUE;
}

guint64 drift_kll_get_n(const DriftKll *sketch)
{
  return sketch->n;
}

guint64 drift_kll_get_missing(const DriftKll *sketch)
{
  return sketch->missing;
}

guint drift_kll_get_k(const DriftKll *sketch)
{
  return sketch->k;
}

gsize drift_kll_get_retained(const DriftKll *sketch)
{
  return sketch->retained;
}

double drift_kll_get_min(const DriftKll *sketch)
{
  return sketch->min;
}

double drift_kll_get_max(const DriftKll *sketch)
{
  return sketch->max;
}

double drift_kll_rank_error(guint k, gboolean of_mass)
{
  return of_mass ? 2.446 / pow(k, .9433) : 2.296 / pow(k, .9723);
}

/* --- questions ---------------------------------------------------------------------------------------------------- */

typedef struct {
  double value;
  guint64 weight; /* then the sum up to and with this value */
} Weighted;

struct _DriftKllView {
  Weighted *values;
  guint n_values;
  guint64 n;
  double min, max;
};

static gint compare_weighted(const void *a, const void *b)
{
  const Weighted *left = a, *right = b;
  return (left->value > right->value) - (left->value < right->value);
}

DriftKllView *drift_kll_view_new(const DriftKll *sketch)
{
  DriftKllView *view = g_new0(DriftKllView, 1);
  view->values = g_new(Weighted, sketch->retained + 1);
  view->n = sketch->n;
  view->min = sketch->min;
  view->max = sketch->max;
  for (guint level = 0; level < sketch->n_levels; level++)
    for (guint i = 0; i < sketch->levels[level].n; i++)
      view->values[view->n_values++] = (Weighted){sketch->levels[level].values[i], (guint64)1 << level};
  qsort(view->values, view->n_values, sizeof *view->values, compare_weighted);
  for (guint i = 1; i < view->n_values; i++) view->values[i].weight += view->values[i - 1].weight;
  return view;
}

void drift_kll_view_free(DriftKllView *view)
{
  if (view == NULL) return;
  g_free(view->values);
  g_free(view);
}

double drift_kll_view_quantile(const DriftKllView *view, double probability)
{
  if (view->n_values == 0 || !(probability >= 0 && probability <= 1)) return NAN;
  if (probability == 0) return view->min;
  if (probability == 1) return view->max;
  double wanted = probability * (double)view->n;
  guint low = 0, high = view->n_values - 1;
  while (low < high) {
    guint middle = (low + high) / 2;
    if ((double)view->values[middle].weight < wanted)
      low = middle + 1;
    else
      high = middle;
  }
  return view->values[low].value;
}

double drift_kll_view_rank(const DriftKllView *view, double value, gboolean inclusive)
{
  if (view->n_values == 0 || isnan(value)) return NAN;
  guint low = 0, high = view->n_values; /* the first value above (or not below) */
  while (low < high) {
    guint middle = (low + high) / 2;
    double kept = view->values[middle].value;
    if (inclusive ? kept <= value : kept < value)
      low = middle + 1;
    else
      high = middle;
  }
  return low == 0 ? 0 : (double)view->values[low - 1].weight / (double)view->n;
}

/* --- bytes -------------------------------------------------------------------------------------------------------- */

GBytes *drift_kll_to_bytes(const DriftKll *sketch)
{
  g_autoptr(GByteArray) raw = g_byte_array_new();
  drift_put_u32(raw, sketch->k);
  drift_put_u32(raw, sketch->n_levels);
  drift_put_u64(raw, sketch->n);
  drift_put_u64(raw, sketch->missing);
  drift_put_u64(raw, sketch->random);
  drift_put_double(raw, sketch->min);
  drift_put_double(raw, sketch->max);
  for (guint level = 0; level < sketch->n_levels; level++) {
    drift_put_u32(raw, sketch->levels[level].n);
    for (guint i = 0; i < sketch->levels[level].n; i++) drift_put_double(raw, sketch->levels[level].values[i]);
  }
  return drift_frame_pack(MAGIC, VERSION, raw);
}

/* One level: numbers in [min, max], ascending above level 0. */
static gboolean get_level(DriftReader *reader, DriftKll *sketch, guint index)
{
  Level *level = &sketch->levels[index];
  guint n = drift_get_u32(reader);
  if (n > sketch->budget || n > drift_reader_left(reader) / sizeof(double)) return FALSE;
  reserve(level, MAX(n, 1));
  level->n = n;
  for (guint i = 0; i < n; i++) {
    level->values[i] = drift_get_double(reader);
    if (!(level->values[i] >= sketch->min && level->values[i] <= sketch->max)) return FALSE;
    if (index > 0 && i > 0 && level->values[i] < level->values[i - 1]) return FALSE;
  }
  sketch->retained += n;
  return TRUE;
}

static gboolean get_head(DriftReader *reader, DriftKll *sketch)
{
  sketch->n = drift_get_u64(reader);
  sketch->missing = drift_get_u64(reader);
  sketch->random = drift_get_u64(reader);
  sketch->min = drift_get_double(reader);
  sketch->max = drift_get_double(reader);
  return sketch->n == 0 ? isnan(sketch->min) && isnan(sketch->max) : sketch->min <= sketch->max;
}

static DriftKll *read_sketch(DriftReader *reader)
{
  guint k = drift_get_u32(reader), n_levels = drift_get_u32(reader);
  if (n_levels < 1 || n_levels > MAX_LEVELS) return NULL;
  g_autoptr(DriftKll) sketch = drift_kll_new(k, 0, NULL);
  if (sketch == NULL || !get_head(reader, sketch)) return NULL;
  set_levels(sketch, n_levels);
  guint64 weight = 0;
  for (guint level = 0; level < n_levels; level++) {
    if (!get_level(reader, sketch, level)) return NULL;
    if (sketch->levels[level].n > (G_MAXUINT64 - weight) >> level) return NULL;
    weight += (guint64)sketch->levels[level].n << level;
  }
  gboolean fits =
      !reader->failed && drift_reader_left(reader) == 0 && weight == sketch->n && sketch->retained <= sketch->budget;
  return fits ? g_steal_pointer(&sketch) : NULL;
}

DriftKll *drift_kll_from_bytes(GBytes *bytes, GError **error)
{
  g_autoptr(GBytes) raw = drift_frame_unpack(MAGIC, VERSION, MAX_BYTES, "KLL sketch", bytes, error);
  if (raw == NULL) return NULL;
  gsize length;
  const guint8 *data = g_bytes_get_data(raw, &length);
  DriftReader reader;
  drift_reader_init(&reader, data, length);
  DriftKll *sketch = read_sketch(&reader);
  if (sketch == NULL)
    g_set_error(error, DRIFT_ERROR, DRIFT_ERROR_INVALID,
                "KLL sketch: the state is not one that this program could have written");
  return sketch;
}
