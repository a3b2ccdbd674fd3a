#include "daemon/decode_internal.h"

#include <math.h>

#include "pipeline/date.h"

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

gboolean decode_time_parse(const gchar *text, gsize length, gint64 *time)
{
  PipelineDate date;
  return pipeline_date_parse(text, length, &date) && date.has_time && date.has_zone &&
         take_time(date.microseconds, time);
}
