/* A child process in a process group of its own: started with posix_spawn (a bare fork is only for programs without
 * threads of their own), ended as a group, because what it started must go with it. */
#pragma once

#include <glib.h>

G_BEGIN_DECLS

typedef struct _PipelineChild PipelineChild;
/* argv and environment are NULL-terminated; argv[0] is a path, or found in PATH. It inherits the standard streams and
 * no other files. */
PipelineChild *pipeline_child_spawn(const gchar *const *argv, const gchar *const *environment, GError **error);
/* A copy of this process, without exec, so that it shares what was read: it runs `run` and ends with what that returns,
 * 0 to 255, without what a normal end does (standard output is not flushed). It inherits the standard streams and no
 * other files, and is killed when this process ends in whatever way. The caller must have started no threads. */
PipelineChild *pipeline_child_fork(int (*run)(gpointer user_data), gpointer user_data, GError **error);
/* A file descriptor that becomes readable when the child has ended; borrowed. */
int pipeline_child_get_fd(const PipelineChild *child);
/* Waits at most timeout_ms (0: only looks). TRUE when it has ended; *text (may be NULL) then says how (new). */
gboolean pipeline_child_wait(PipelineChild *child, guint timeout_ms, gchar **text);
void pipeline_child_terminate(PipelineChild *child); /* SIGTERM to the group */
void pipeline_child_kill(PipelineChild *child);      /* SIGKILL to the group */
/* Kills what still lives and reaps it. */
void pipeline_child_free(PipelineChild *child);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(PipelineChild, pipeline_child_free)

G_END_DECLS
