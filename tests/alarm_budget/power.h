#pragma once

#include <glib.h>

G_BEGIN_DECLS

/* Prints the table of what the verdict finds; the exit status. */
int power_measure(guint64 seed);

G_END_DECLS
