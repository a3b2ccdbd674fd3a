/* The page of `kedge profile --html`: a profile, or its violations, from the command's report. */
#pragma once

#include <jansson.h>

#include <glib.h>

G_BEGIN_DECLS

/* FALSE: the file's error. */
gboolean profile_html_write(const json_t *report, const gchar *path, GError **error);

G_END_DECLS
