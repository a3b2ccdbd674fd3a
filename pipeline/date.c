#include "pipeline/date.h"

#define SECOND G_GINT64_CONSTANT(1000000)

/* "2026" and the like; *at moves behind it. */
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

static gboolean take_day(const gchar **at, const gchar *end, gint64 *days)
{
  gint year, month, day;
  gchar mark;
  if (!take_digits(at, end, 4, &year) || !take_one_of(at, end, "-", &mark) || !take_digits(at, end, 2, &month) ||
      !take_one_of(at, end, "-", &mark) || !take_digits(at, end, 2, &day) || !is_date(year, month, day))
    return FALSE;
  *days = days_of(year, month, day);
  return TRUE;
}

/* Microseconds of the day. */
static gboolean take_clock(const gchar **at, const gchar *end, gint64 *microseconds)
{
  gint hour, minute, second;
  gint64 fraction;
  gchar mark;
  if (!take_one_of(at, end, "Tt ", &mark) || !take_digits(at, end, 2, &hour) || !take_one_of(at, end, ":", &mark) ||
      !take_digits(at, end, 2, &minute) || !take_one_of(at, end, ":", &mark) || !take_digits(at, end, 2, &second) ||
      !take_fraction(at, end, &fraction) || hour > 23 || minute > 59 || second > 60) /* 60: a leap second */
    return FALSE;
  *microseconds = (hour * 3600 + minute * 60 + second) * SECOND + fraction;
  return TRUE;
}

gboolean pipeline_date_parse(const gchar *text, gsize length, PipelineDate *date)
{
  const gchar *at = text, *end = text + length;
  gint64 days, clock = 0;
  gint zone = 0;
  if (!take_day(&at, end, &days)) return FALSE;
  gboolean has_time = at != end;
  if (has_time && !take_clock(&at, end, &clock)) return FALSE;
  gboolean has_zone = has_time && at != end;
  if (has_zone && (!take_zone(&at, end, &zone) || at != end)) return FALSE;
  *date = (PipelineDate){(days * 86400 - zone * 60) * SECOND + clock, has_time, has_zone};
  return TRUE;
}
