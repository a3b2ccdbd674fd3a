#pragma once

#include <glib.h>

G_BEGIN_DECLS

/* Prints the table of what the verdict finds, of those laws (NULL: all); the exit status. */
int power_measure(guint64 seed, const gchar *const *laws);

G_END_DECLS
