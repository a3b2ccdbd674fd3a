/* Large arrays into a checksum: g_checksum_update takes at most 2 GiB at a time. */
#pragma once

#include <glib.h>

G_BEGIN_DECLS

void pipeline_checksum_update(GChecksum *checksum, gconstpointer data, gsize size);

G_END_DECLS
