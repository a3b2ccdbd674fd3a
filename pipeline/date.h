/* Dates as ISO 8601 writes them. */
#pragma once

#include <glib.h>

G_BEGIN_DECLS

typedef struct {
  gint64
      microseconds; /* since 1970-01-01T00:00:00Z, in the proleptic Gregorian calendar; without a zone: as if in UTC */
  gboolean has_time, has_zone;
} PipelineDate;
/* "2026-11-26", "2026-11-26T10:00:00", with a fraction, with Z or an offset ("2026-11-26 10:00:00.5+01:00"); T, t or a
 * blank in front of the time; years 1 to 9999; 60 is a second (a leap second). FALSE: it is none; *date untouched. */
gboolean pipeline_date_parse(const gchar *text, gsize length, PipelineDate *date);

G_END_DECLS
