#include "pipeline/search_journal.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

struct _PipelineSearchJournal {
  gchar *path;
  int fd;
};

void pipeline_search_journal_free(PipelineSearchJournal *journal)
{
  if (journal == NULL) return;
  if (journal->fd >= 0) close(journal->fd);
  g_free(journal->path);
  g_free(journal);
}

static gboolean fail(const PipelineSearchJournal *journal, const gchar *what, GError **error)
{
  g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_INVALID, "%s: cannot be %s: %s", journal->path, what,
              g_strerror(errno));
  return FALSE;
}

static gboolean write_line(PipelineSearchJournal *journal, const json_t *json, GError **error)
{
  char *text = json_dumps(json, JSON_COMPACT | JSON_REAL_PRECISION(17));
  g_autofree gchar *line = g_strconcat(text, "\n", NULL);
  free(text);
  for (gsize done = 0, length = strlen(line); done < length;) {
    ssize_t n = write(journal->fd, line + done, length - done);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return fail(journal, "written", error);
    done += (gsize)n;
  }
  return fsync(journal->fd) == 0 || fail(journal, "written", error);
}

static gboolean check_header(const PipelineSearchJournal *journal, const json_t *header, const json_t *found,
                             GError **error)
{
  const char *key;
  json_t *value;
  json_object_foreach ((json_t *)header, key, value) {
    if (json_equal(value, json_object_get(found, key))) continue;
    g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_INVALID,
                "%s: it is the journal of another search: \"%s\" differs; repeat the options and data of that search, "
                "or begin in a new folder",
                journal->path, key);
    return FALSE;
  }
  return TRUE;
}

/* One whole line, of any number from 1. */
static gboolean take_line(const PipelineSearchJournal *journal, const gchar *text, gsize length, guint number,
                          const json_t *header, PipelineSearchState *state, GError **error)
{
  json_error_t problem;
  json_t *json = json_loadb(text, length, JSON_REJECT_DUPLICATES, &problem);
  g_autoptr(GError) cause = NULL;
  gboolean good = FALSE;
  if (!json_is_object(json))
    g_set_error(&cause, PIPELINE_ERROR, PIPELINE_ERROR_DATA, "no JSON object");
  else if (number == 1) {
    good = check_header(journal, header, json, error);
    json_decref(json);
    return good;
  } else
    good = pipeline_search_state_apply(state, json, &cause);
  json_decref(json);
  if (good) return TRUE;
  g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_DATA, "%s: line %u: %s", journal->path, number, cause->message);
  return FALSE;
}

static gboolean read_lines(PipelineSearchJournal *journal, const json_t *header, gboolean must_be_new,
                           PipelineSearchState *state, GError **error)
{
  g_autofree gchar *text = NULL;
  gsize length = 0, start = 0;
  guint number = 0;
  if (!g_file_get_contents(journal->path, &text, &length, error)) return FALSE;
  for (gchar *end; (end = memchr(text + start, '\n', length - start)) != NULL; start = (gsize)(end - text) + 1) {
    if (must_be_new) {
      g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_INVALID,
                  "%s: a search was begun here; --resume its folder goes on with it, or remove the folder",
                  journal->path);
      return FALSE;
    }
    if (!take_line(journal, text + start, (gsize)(end - text) - start, ++number, header, state, error)) return FALSE;
  }
  if (start < length && ftruncate(journal->fd, (off_t)start) != 0) return fail(journal, "cut", error);
  return number > 0 || write_line(journal, header, error);
}

PipelineSearchJournal *pipeline_search_journal_open(const gchar *path, const json_t *header, gboolean must_be_new,
                                                    PipelineSearchState *state, GError **error)
{
  g_autoptr(PipelineSearchJournal) journal = g_new0(PipelineSearchJournal, 1);
  journal->path = g_strdup(path);
  journal->fd = open(path, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
  if (journal->fd < 0) {
    fail(journal, "opened", error);
    return NULL;
  }
  if (flock(journal->fd, LOCK_EX | LOCK_NB) != 0) {
    g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_INVALID, "%s: another search is running here", path);
    return NULL;
  }
  return read_lines(journal, header, must_be_new, state, error) ? g_steal_pointer(&journal) : NULL;
}

gboolean pipeline_search_journal_add(PipelineSearchJournal *journal, const json_t *event, PipelineSearchState *state,
                                     GError **error)
{
  return write_line(journal, event, error) && pipeline_search_state_apply(state, event, error);
}
