#include "drift/categories_internal.h"

#include <math.h>
#include <string.h>

/* Two open-addressing tables of codes + 1 (0: empty), at most half full: one by text, one by number. */
struct _DriftCategories {
  guint n;
  guint mask;
  gchar **texts;
  guint32 *lengths;
  double *numbers; /* NaN where the text is no number */
  guint16 *by_text, *by_number;
};

static guint64 mix(guint64 hash, guint64 word)
{
  hash = (hash ^ word) * G_GUINT64_CONSTANT(0x9e3779b97f4a7c15);
  return hash ^ hash >> 29;
}

static guint64 hash_text(const gchar *text, gsize length)
{
  guint64 hash = length, word;
  for (; length >= sizeof word; text += sizeof word, length -= sizeof word) {
    memcpy(&word, text, sizeof word);
    hash = mix(hash, word);
  }
  word = 0;
  if (length > 0) memcpy(&word, text, length);
  return mix(hash, word);
}

static guint64 hash_number(double number)
{
  guint64 word;
  number += 0.0; /* -0 becomes 0 */
  memcpy(&word, &number, sizeof word);
  return mix(mix(0, word), word >> 32);
}

static gint find_text(const DriftCategories *categories, const gchar *text, gsize length)
{
  for (guint at = hash_text(text, length) & categories->mask;; at = (at + 1) & categories->mask) {
    guint code = categories->by_text[at];
    if (code-- == 0) return -1;
    if (categories->lengths[code] != length) continue;
    if (length == 0 || memcmp(categories->texts[code], text, length) == 0) return (gint)code;
  }
}

static gint find_number(const DriftCategories *categories, double number)
{
  for (guint at = hash_number(number) & categories->mask;; at = (at + 1) & categories->mask) {
    guint code = categories->by_number[at];
    if (code-- == 0) return -1;
    if (categories->numbers[code] == number) return (gint)code;
  }
}

gint drift_categories_find(const DriftCategories *categories, const DriftValue *value)
{
  double number;
  if (value->kind == DRIFT_VALUE_MISSING) return -1;
  if (value->kind == DRIFT_VALUE_TEXT) {
    gint code = find_text(categories, value->text, value->length);
    if (code >= 0) return code;
    return drift_value_to_number(value, &number) ? find_number(categories, number) : -1;
  }
  if (isfinite(value->number)) return find_number(categories, value->number);
  gchar buffer[DRIFT_NUMBER_TEXT_SIZE];
  gsize length;
  const gchar *text = drift_value_to_text(value, buffer, &length);
  return find_text(categories, text, length);
}

static void insert(guint16 *table, guint mask, guint64 hash, guint code)
{
  guint at = hash & mask;
  while (table[at] != 0) at = (at + 1) & mask;
  table[at] = (guint16)(code + 1);
}

static void add(DriftCategories *categories, guint code, const gchar *text)
{
  gchar buffer[DRIFT_NUMBER_TEXT_SIZE];
  gsize length;
  DriftValue value = drift_value_text(text, -1);
  const gchar *canonical = drift_value_to_text(&value, buffer, &length);
  double number;
  categories->numbers[code] = drift_value_to_number(&value, &number) ? number : NAN;
  categories->texts[code] = g_strndup(canonical, length);
  categories->lengths[code] = (guint32)length;
  if (find_text(categories, canonical, length) >= 0) return;
  insert(categories->by_text, categories->mask, hash_text(canonical, length), code);
  if (!isnan(categories->numbers[code]))
    insert(categories->by_number, categories->mask, hash_number(categories->numbers[code]), code);
}

DriftCategories *drift_categories_new(const gchar *const *texts, guint n)
{
  DriftCategories *categories = g_new0(DriftCategories, 1);
  guint size = 2;
  while (size < 2 * n + 2) size *= 2;
  categories->n = n;
  categories->mask = size - 1;
  categories->texts = g_new0(gchar *, n + 1);
  categories->lengths = g_new0(guint32, n);
  categories->numbers = g_new0(double, n);
  categories->by_text = g_new0(guint16, size);
  categories->by_number = g_new0(guint16, size);
  for (guint code = 0; code < n; code++) add(categories, code, texts[code]);
  return categories;
}

void drift_categories_free(DriftCategories *categories)
{
  if (categories == NULL) return;
  g_strfreev(categories->texts);
  g_free(categories->lengths);
  g_free(categories->numbers);
  g_free(categories->by_text);
  g_free(categories->by_number);
  g_free(categories);
}

guint drift_categories_n(const DriftCategories *categories)
{
  return categories->n;
}

const gchar *drift_categories_get(const DriftCategories *categories, guint code)
{
  return categories->texts[code];
}
