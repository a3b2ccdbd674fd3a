#include "daemon/source_file_log.h"

#include "daemon/source.h"

#include <errno.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

enum { CHUNK = 1 << 16, INDEX_STRIDE = 1024, MAXIMUM_LINE = 2 << 20 };

struct _SourceFileLog {
  gchar *path;
  int file; /* -1: not open */
  struct stat identity;
  GArray *index;      /* gint64: byte position of line i * INDEX_STRIDE */
  gint64 known_lines; /* complete lines up to known_bytes */
  gint64 known_bytes;
  gint64 next; /* offset of the line at `position` */
  gint64 position;
  GByteArray *buffer; /* bytes of the file from buffer_start on */
  gint64 buffer_start;
};

SourceFileLog *source_file_log_new(const gchar *path)
{
  SourceFileLog *log = g_new0(SourceFileLog, 1);
  log->path = g_strdup(path);
  log->file = -1;
  log->index = g_array_new(FALSE, FALSE, sizeof(gint64));
  log->buffer = g_byte_array_sized_new(CHUNK); /* never NULL: places in it are counted from its start */
  return log;
}

void source_file_log_free(SourceFileLog *log)
{
  if (log == NULL) return;
  if (log->file >= 0) close(log->file);
  g_array_unref(log->index);
  g_byte_array_unref(log->buffer);
  g_free(log->path);
  g_free(log);
}

static gboolean fail(const SourceFileLog *log, GError **error, const gchar *doing)
{
  g_set_error(error, DAEMON_ERROR, DAEMON_ERROR_BROKER, "%s: cannot %s: %s", log->path, doing, g_strerror(errno));
  return FALSE;
}

static void forget(SourceFileLog *log)
{
  if (log->file >= 0) close(log->file);
  log->file = -1;
  g_array_set_size(log->index, 0);
  g_byte_array_set_size(log->buffer, 0);
  log->known_lines = log->known_bytes = log->buffer_start = 0;
}

/* TRUE with log->file -1 when there is no file (yet). */
static gboolean open_file(SourceFileLog *log, GError **error)
{
  if (log->file >= 0) return TRUE;
  log->file = open(log->path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
  if (log->file < 0) return errno == ENOENT ? TRUE : fail(log, error, "open");
  if (fstat(log->file, &log->identity) != 0) return fail(log, error, "look at");
  return TRUE;
}

/* Whether the file is still the one that was read, and no shorter: else offsets mean other records than before. */
static gboolean check_identity(SourceFileLog *log, GError **error)
{
  struct stat now;
  if (log->file < 0) return TRUE;
  gboolean exists = stat(log->path, &now) == 0;
  gint64 read = MAX(log->known_bytes, log->position);
  if (exists && now.st_ino == log->identity.st_ino && now.st_dev == log->identity.st_dev && now.st_size >= read)
    return TRUE;
  g_set_error(error, DAEMON_ERROR, DAEMON_ERROR_OFFSET,
              "%s: the file was %s, so that offset %" G_GINT64_FORMAT " no longer means the record it meant", log->path,
              exists ? (now.st_size < read ? "shortened" : "replaced") : "removed", log->next);
  forget(log);
  return FALSE;
}

/* Reads on in the one pass over the file until `lines` lines are known or the file ends. */
static gboolean extend_index(SourceFileLog *log, gint64 lines, GError **error)
{
  g_autofree gchar *chunk = g_malloc(CHUNK);
  gint64 at = log->known_bytes;
  while (log->known_lines < lines) {
    gssize length = pread(log->file, chunk, CHUNK, at);
    if (length < 0 && errno == EINTR) continue;
    if (length < 0) return fail(log, error, "read");
    if (length == 0) break;
    const gchar *end = chunk + length, *from = chunk, *newline;
    while (log->known_lines < lines && (newline = memchr(from, '\n', (gsize)(end - from))) != NULL) {
      if (log->known_lines % INDEX_STRIDE == 0) g_array_append_val(log->index, log->known_bytes);
      from = newline + 1;
      log->known_lines++;
      log->known_bytes = at + (from - chunk);
    }
    at += length;
  }
  return TRUE;
}

gboolean source_file_log_count(SourceFileLog *log, gint64 *count, GError **error)
{
  if (!open_file(log, error) || !check_identity(log, error)) return FALSE;
  if (log->file >= 0 && !extend_index(log, G_MAXINT64, error)) return FALSE;
  *count = log->known_lines;
  return TRUE;
}

/* The byte position of a known line, or of the end. */
static gboolean find_position(SourceFileLog *log, gint64 offset, gint64 *position, GError **error)
{
  if (offset == log->known_lines) {
    *position = log->known_bytes;
    return TRUE;
  }
  gint64 at = g_array_index(log->index, gint64, offset / INDEX_STRIDE), left = offset % INDEX_STRIDE;
  g_autofree gchar *chunk = g_malloc(CHUNK);
  while (left > 0) {
    gssize length = pread(log->file, chunk, CHUNK, at);
    if (length < 0 && errno == EINTR) continue;
    if (length <= 0) return fail(log, error, "read");
    const gchar *end = chunk + length, *from = chunk, *newline;
    while (left > 0 && (newline = memchr(from, '\n', (gsize)(end - from))) != NULL) {
      from = newline + 1;
      left--;
    }
    at += left > 0 ? length : from - chunk;
  }
  *position = at;
  return TRUE;
}

gboolean source_file_log_seek(SourceFileLog *log, gint64 offset, GError **error)
{
  /* What is there now counts: a file that was replaced is judged by its new lines. */
  if (!check_identity(log, NULL)) log->position = 0;
  if (!open_file(log, error)) return FALSE;
  if (log->file >= 0 && !extend_index(log, offset >= 0 ? offset : G_MAXINT64, error)) return FALSE;
  gint64 target = offset == SOURCE_EARLIEST ? 0 : offset == SOURCE_LATEST ? log->known_lines : offset;
  if (target > log->known_lines || target < 0) {
    g_set_error(error, DAEMON_ERROR, DAEMON_ERROR_OFFSET,
                "%s: offset %" G_GINT64_FORMAT " is beyond the end, %" G_GINT64_FORMAT
                ": lines that had been read are no longer there",
                log->path, offset, log->known_lines);
    return FALSE;
  }
  gint64 position = 0;
  if (target > 0 && !find_position(log, target, &position, error)) return FALSE;
  log->next = target;
  log->position = log->buffer_start = position;
  g_byte_array_set_size(log->buffer, 0);
  return TRUE;
}

/* Appends more of the file to the buffer; FALSE with *ended at its end. */
static gboolean fill_buffer(SourceFileLog *log, gboolean *ended, GError **error)
{
  guint length = log->buffer->len;
  g_byte_array_set_size(log->buffer, length + CHUNK);
  gssize got;
  do got = pread(log->file, log->buffer->data + length, CHUNK, log->buffer_start + length);
  while (got < 0 && errno == EINTR);
  g_byte_array_set_size(log->buffer, length + (guint)MAX(got, 0));
  *ended = got == 0;
  return got < 0 ? fail(log, error, "read") : got > 0;
}

static void drop_consumed(SourceFileLog *log)
{
  guint used = (guint)(log->position - log->buffer_start);
  if (used == 0 || (used < log->buffer->len && log->buffer->len < 4 * CHUNK)) return;
  g_byte_array_remove_range(log->buffer, 0, used);
  log->buffer_start = log->position;
}

/* A line too long to be kept: skips to its newline without holding it. */
static SourceFileResult skip_rest(SourceFileLog *log, gint64 *line_end, GError **error)
{
  g_autofree gchar *chunk = g_malloc(CHUNK);
  for (gint64 at = log->position + MAXIMUM_LINE;;) {
    gssize length = pread(log->file, chunk, CHUNK, at);
    if (length < 0 && errno == EINTR) continue;
    if (length < 0) return fail(log, error, "read") ? SOURCE_FILE_END : SOURCE_FILE_FAILED;
    if (length == 0) return SOURCE_FILE_END;
    const gchar *newline = memchr(chunk, '\n', (gsize)length);
    if (newline == NULL) {
      at += length;
      continue;
    }
    *line_end = at + (newline - chunk) + 1;
    return SOURCE_FILE_LINE;
  }
}

static SourceFileResult take_long_line(SourceFileLog *log, gint64 *offset, const gchar **text, gsize *length,
                                       GError **error)
{
  gint64 line_end;
  SourceFileResult result = skip_rest(log, &line_end, error);
  if (result != SOURCE_FILE_LINE) return result;
  *offset = log->next++;
  *text = (const gchar *)log->buffer->data + (log->position - log->buffer_start);
  *length = MAXIMUM_LINE;
  log->position = line_end;
  log->buffer_start = line_end;
  log->buffer->len = 0; /* the bytes stay until the next call */
  return SOURCE_FILE_LINE;
}

SourceFileResult source_file_log_next(SourceFileLog *log, gint64 *offset, const gchar **text, gsize *length,
                                      GError **error)
{
  if (!open_file(log, error)) return SOURCE_FILE_FAILED;
  if (log->file < 0) return SOURCE_FILE_END;
  drop_consumed(log);
  gsize searched = 0;
  for (;;) {
    const gchar *start = (const gchar *)log->buffer->data + (log->position - log->buffer_start);
    gsize available = log->buffer->len - (gsize)(log->position - log->buffer_start);
    const gchar *newline = available == searched ? NULL : memchr(start + searched, '\n', available - searched);
    if (newline != NULL && (gsize)(newline - start) <= MAXIMUM_LINE) {
      *offset = log->next++;
      *text = start;
      *length = (gsize)(newline - start);
      log->position += (gint64)*length + 1;
      return SOURCE_FILE_LINE;
    }
    if (available > MAXIMUM_LINE) return take_long_line(log, offset, text, length, error);
    searched = available;
    gboolean ended = FALSE;
    if (!fill_buffer(log, &ended, error))
      return ended && check_identity(log, error) ? SOURCE_FILE_END : SOURCE_FILE_FAILED;
  }
}

/* --- appending ------------------------------------------------------------------------------------------------------
 */

static gboolean write_all(int file, const gchar *text, gsize length)
{
  while (length > 0) {
    gssize written = write(file, text, length);
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return FALSE;
    text += written;
    length -= (gsize)written;
  }
  return TRUE;
}

/* Under the lock. A last line without newline (a writer died) is ended first, so that it cannot swallow ours. */
static gboolean append_locked(int file, const gchar *text, gsize length, gboolean durable)
{
  struct stat state;
  gchar last = '\n';
  if (fstat(file, &state) != 0 || (state.st_size > 0 && pread(file, &last, 1, state.st_size - 1) != 1)) return FALSE;
  if ((last == '\n' || write_all(file, "\n", 1)) && write_all(file, text, length) && (!durable || fdatasync(file) == 0))
    return TRUE;
  int cause = errno;
  if (ftruncate(file, state.st_size) != 0) cause = errno;
  errno = cause;
  return FALSE;
}

gboolean source_file_append(const gchar *path, const gchar *text, gsize length, gboolean durable, GError **error)
{
  int file = open(path, O_RDWR | O_APPEND | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0640);
  gboolean good = file >= 0 && flock(file, LOCK_EX) == 0 && append_locked(file, text, length, durable);
  if (!good) g_set_error(error, DAEMON_ERROR, DAEMON_ERROR_BROKER, "%s: cannot append: %s", path, g_strerror(errno));
  if (file >= 0) close(file); /* gives the lock back */
  return good;
}
