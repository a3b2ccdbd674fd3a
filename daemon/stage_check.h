/* The options of a stage of `policy.chain` as its job kind sees them. In a file of its own: it draws in what trains,
 * which kedged is built without. */
#pragma once

#include <glib.h>

G_BEGIN_DECLS

/* A SettingsStageCheck; options: json_t*. Kinds without checks, and unknown ones, pass. */
gboolean stage_check(const gchar *kind, gconstpointer options, GError **error);

G_END_DECLS
