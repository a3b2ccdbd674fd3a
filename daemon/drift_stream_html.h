/* The page of `kedge drift stream --html`. */
#pragma once

#include <jansson.h>

#include "daemon/series_shape.h"

G_BEGIN_DECLS

/* The series with its detections and the evidence over time, from the command's report. FALSE: the file's error. */
gboolean drift_stream_html_write(const json_t *report, const SeriesShape *shape, const gchar *path, GError **error);

G_END_DECLS
