/* The page of `kedge drift estimate --html`, from the command's report. */
#pragma once

#include <glib.h>
#include <jansson.h>

G_BEGIN_DECLS

/* A picture and a table a metric: estimate, band, thresholds, what was realized. FALSE: the file's error. */
gboolean estimate_html_write(const json_t *report, const gchar *path, GError **error);

G_END_DECLS
