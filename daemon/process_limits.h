/* Limits of the process (ulimit) end a command with a sentence, not with a signal. */
#pragma once

#include <glib.h>

G_BEGIN_DECLS

/* Call first. A file that grows beyond its limit is an error of the write (SIGXFSZ is ignored); memory that GLib cannot
 * get ends the process with status COMMAND_FAILED and a text, with --json among argv also as {"error"}. Files that are
 * written by GLib stay as they were. */
void process_limits_init(int argc, char **argv);
/* Ends the process with `status`. Under a limit of address space without the libraries' own ends: OpenBLAS would wait
 * for threads that wait for memory. */
G_NORETURN void process_limits_leave(int status);

G_END_DECLS
