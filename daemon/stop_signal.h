/* SIGTERM and SIGINT as a GCancellable, for commands that run until they are asked to stop. */
#pragma once

#include <gio/gio.h>

G_BEGIN_DECLS

/* To be called before any thread is started: blocks the two signals in all of them and waits for the first in a thread
 * of its own; a second one ends the process at once. New reference. */
GCancellable *stop_signal_listen(void);

G_END_DECLS
