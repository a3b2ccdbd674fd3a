/* The dashboard's files, compiled in. */
#pragma once

#include <glib.h>

G_BEGIN_DECLS

typedef struct {
  const gchar *content_type;
  const guint8 *bytes; /* static */
  gsize length;
} DashboardAsset;
/* path: as asked for, "/" or "/static/dashboard.js". FALSE: no such path. */
gboolean dashboard_find(const gchar *path, DashboardAsset *asset);

G_END_DECLS
