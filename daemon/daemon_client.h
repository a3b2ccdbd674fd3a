/* Asking a running kedged over HTTP: its Unix socket when it has one, else its loopback port. */
#pragma once

#include <glib.h>

G_BEGIN_DECLS

/* The body of a 200 answer (new, at most 16 MiB). socket, listen: as in the settings, "" when absent. */
gchar *daemon_client_get(const gchar *socket, const gchar *listen, const gchar *path, GError **error);
/* The value of a sample of an exposition text; labels as metrics_label writes them. NaN: not there. */
double daemon_client_find_metric(const gchar *text, const gchar *name, const gchar *labels);

G_END_DECLS
