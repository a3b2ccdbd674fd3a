#include "daemon/decode_internal.h"

#include <math.h>

#define SECOND G_GINT64_CONSTANT(1000000)
#define EARLIEST (G_GINT64_CONSTANT(-62135596800) * SECOND) /* 0001-01-01 */
#define LATEST (G_GINT64_CONSTANT(253402300800) * SECOND)   /* 10000-01-01 */

/* Units by magnitude: numbers below `below` count `per_second` a second. */
static const struct {
  double below;
  gint64 per_second;
} units[] = {{1e11, 1}, {1e14, 1000}, {1e17, 1000000}, {HUGE_VAL, 1000000000}};

static gboolean take_time(gint64 value, gint64 *time)
{
  if (value < EARLIEST || value >= LATEST) return FALSE;
  *time = value;
  return TRUE;
}

gboolean decode_time_from_number(double number, gint64 *time)
{
  if (!isfinite(number)) return FALSE;
  guint unit = 0;
  while (fabs(number) >= units[unit].below) unit++;
  double value = round(number * ((double)SECOND / (double)units[unit].per_second));
  return fabs(value) < 9e18 && take_time((gint64)value, time);
}

gboolean decode_time_from_integer(gint64 number, gint64 *time)
{
  guint unit = 0;
  while (fabs((double)number) >= units[unit].below) unit++;
  gint64 per_second = units[unit].per_second;
  return take_time(per_second > SECOND ? number / (per_second / SECOND) : number * (SECOND / per_second), time);
}

static gboolean take_digits(const gchar **at, const gchar *end, guint count, gint *value)
{
  if ((gsize)(end - *at) < count) return FALSE;
  *value = 0;
  for (guint i = 0; i < count; i++, (*at)++) {
    if (!g_ascii_isdigit(**at)) return FALSE;
    *value = *value * 10 + (**at - '0');
  }
  return TRUE;
}

static gboolean take_one_of(const gchar **at, const gchar *end, const gchar *choices, gchar *taken)
{
  if (*at == end) return FALSE;
  for (; *choices != '\0'; choices++)
    if (**at == *choices) {
      *taken = *(*at)++;
      return TRUE;
    }
  return FALSE;
}

static gboolean take_fraction(const gchar **at, const gchar *end, gint64 *microseconds)
{
  *microseconds = 0;
  if (*at == end || **at != '.') return TRUE;
  const gchar *start = ++*at;
  for (gint64 weight = SECOND / 10; *at < end && g_ascii_isdigit(**at); (*at)++, weight /= 10)
    *microseconds += (**at - '0') * weight;
  return *at > start;
}

static gboolean take_zone(const gchar **at, const gchar *end, gint *minutes)
{
  gchar sign;
  gint hour, minute;
  *minutes = 0;
  if (!take_one_of(at, end, "Zz+-", &sign)) return FALSE;
  if (sign == 'Z' || sign == 'z') return TRUE;
  gchar colon;
  if (!take_digits(at, end, 2, &hour) || !take_one_of(at, end, ":", &colon) || !take_digits(at, end, 2, &minute))
    return FALSE;
  *minutes = (hour * 60 + minute) * (sign == '-' ? -1 : 1);
  return hour < 24 && minute < 60;
}

/* Days since 1970-01-01 in the proleptic Gregorian calendar (years counted from March, so that leap days come last). */
static gint64 days_of(gint year, gint month, gint day)
{
  gint64 shifted = year - (month <= 2);
  gint64 era = (shifted >= 0 ? shifted : shifted - 399) / 400;
  gint64 year_of_era = shifted - era * 400;
  gint64 day_of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
  return era * 146097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719468;
}

static gboolean is_date(gint year, gint month, gint day)
{
  return year >= 1 && month >= 1 && month <= 12 && day >= 1 &&
         day <= g_date_get_days_in_month((GDateMonth)month, (GDateYear)year);
}

gboolean decode_time_parse(const gchar *text, gsize length, gint64 *time)
{
  const gchar *at = text, *end = text + length;
  gint year, month, day, hour, minute, second, zone;
  gint64 fraction;
  gchar mark;
  if (!take_digits(&at, end, 4, &year) || !take_one_of(&at, end, "-", &mark) || !take_digits(&at, end, 2, &month) ||
      !take_one_of(&at, end, "-", &mark) || !take_digits(&at, end, 2, &day) || !take_one_of(&at, end, "Tt ", &mark) ||
      !take_digits(&at, end, 2, &hour) || !take_one_of(&at, end, ":", &mark) || !take_digits(&at, end, 2, &minute) ||
      !take_one_of(&at, end, ":", &mark) || !take_digits(&at, end, 2, &second) || !take_fraction(&at, end, &fraction) ||
      !take_zone(&at, end, &zone) || at != end)
    return FALSE;
  if (!is_date(year, month, day) || hour > 23 || minute > 59 || second > 60) return FALSE; /* 60: a leap second */
  gint64 seconds = days_of(year, month, day) * 86400 + hour * 3600 + (minute - zone) * 60 + second;
  return take_time(seconds * SECOND + fraction, time);
}
