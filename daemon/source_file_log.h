/* One partition of the file source: an append-only file whose lines are its records and whose line numbers (from 0) are
 * its offsets. A sparse index of byte positions is built once, in one pass, as far as somebody needs it. */
#pragma once

#include <glib.h>

G_BEGIN_DECLS

typedef struct _SourceFileLog SourceFileLog;
SourceFileLog *source_file_log_new(const gchar *path); /* opens nothing yet */
void source_file_log_free(SourceFileLog *log);

typedef enum {
  SOURCE_FILE_LINE,  /* *text is a whole line, borrowed until the next call */
  SOURCE_FILE_END,   /* nothing more yet; a line without its newline waits */
  SOURCE_FILE_FAILED /* error says why (DAEMON_ERROR_OFFSET: shorter than, or another file than, what was read before)
                      */
} SourceFileResult;
/* The line at the position. Of a line above 2 MiB only the first 2 MiB are given (decoders refuse it as too large). */
SourceFileResult source_file_log_next(SourceFileLog *log, gint64 *offset, const gchar **text, gsize *length,
                                      GError **error);
/* offset >= 0, SOURCE_EARLIEST or SOURCE_LATEST. Refuses offsets beyond the end. */
gboolean source_file_log_seek(SourceFileLog *log, gint64 offset, GError **error);
/* Complete lines in the file; 0 when it does not exist. */
gboolean source_file_log_count(SourceFileLog *log, gint64 *count, GError **error);

/* Appends whole lines under a lock, creating the file; all or nothing. durable: synced to the disk. */
gboolean source_file_append(const gchar *path, const gchar *text, gsize length, gboolean durable, GError **error);

G_END_DECLS
