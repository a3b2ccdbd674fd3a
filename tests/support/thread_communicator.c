#include "tests/support/thread_communicator.h"

#include <math.h>
#include <string.h>

/* One call that every thread makes. */
typedef struct {
  PipelineSumType type; /* of a sum */
  gsize n;
  gboolean broadcast;
  guint arrived, left, root;
  gpointer *parts; /* [size]: what each brought */
} Meeting;

struct _ThreadGang {
  GMutex mutex;
  GCond changed;
  guint size;
  GPtrArray *meetings; /* of Meeting*, in their order */
  GString *told;
};

/* Of one thread. */
typedef struct {
  ThreadGang *gang;
  guint met; /* meetings so far */
} Member;

struct Started {
  guint meeting;
  gpointer values;
};

static gsize size_of(const Meeting *meeting)
{
  return meeting->broadcast ? 1 : meeting->type == PIPELINE_SUM_FLOATS ? sizeof(float) : sizeof(double);
}

/* With the lock held. */
static Meeting *get_meeting(ThreadGang *gang, guint index)
{
  while (gang->meetings->len <= index) g_ptr_array_add(gang->meetings, NULL);
  if (g_ptr_array_index(gang->meetings, index) == NULL) {
    Meeting *meeting = g_new0(Meeting, 1);
    meeting->parts = g_new0(gpointer, gang->size);
    g_ptr_array_index(gang->meetings, index) = meeting;
  }
  return g_ptr_array_index(gang->meetings, index);
}

static gboolean arrive(PipelineCommunicator *communicator, const Meeting *wanted, gpointer values, guint *index,
                       GError **error)
{
  Member *member = communicator->state;
  ThreadGang *gang = member->gang;
  g_mutex_lock(&gang->mutex);
  *index = member->met++;
  Meeting *meeting = get_meeting(gang, *index);
  gboolean first = meeting->arrived++ == 0;
  if (first) {
    meeting->type = wanted->type;
    meeting->n = wanted->n;
    meeting->broadcast = wanted->broadcast;
    meeting->root = wanted->root;
  }
  gboolean alike = meeting->type == wanted->type && meeting->n == wanted->n && meeting->broadcast == wanted->broadcast;
  meeting->parts[communicator->rank] = g_memdup2(values, wanted->n * size_of(wanted));
  if (communicator->rank == 0 && !wanted->broadcast)
    g_string_append_printf(gang->told, "%s%s%zu", gang->told->len > 0 ? " " : "",
                           wanted->type == PIPELINE_SUM_FLOATS ? "f" : "d", wanted->n);
  g_cond_broadcast(&gang->changed);
  g_mutex_unlock(&gang->mutex);
  if (!alike) g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_INVALID, "call %u does not match the others'", *index);
  return alike;
}

/* Until all threads have come; then their parts, until the last one has left. */
static void meet(PipelineCommunicator *communicator, guint index, gpointer values)
{
  Member *member = communicator->state;
  ThreadGang *gang = member->gang;
  g_mutex_lock(&gang->mutex);
  Meeting *meeting = get_meeting(gang, index);
  while (meeting->arrived < gang->size) g_cond_wait(&gang->changed, &gang->mutex);
  g_mutex_unlock(&gang->mutex);
  if (meeting->broadcast) {
    if (meeting->n > 0) memcpy(values, meeting->parts[meeting->root], meeting->n);
  } else {
    for (gsize i = 0; i < meeting->n; i++) {
      double sum = 0;
      float rounded = 0;
      for (guint r = 0; r < gang->size; r++) {
        if (meeting->type == PIPELINE_SUM_FLOATS)
          rounded += ((const float *)meeting->parts[r])[i];
        else
          sum += ((const double *)meeting->parts[r])[i];
      }
      if (meeting->type == PIPELINE_SUM_FLOATS)
        ((float *)values)[i] = rounded;
      else
        ((double *)values)[i] = sum;
    }
  }
  g_mutex_lock(&gang->mutex);
  gboolean last = ++meeting->left == gang->size;
  for (guint r = 0; last && r < gang->size; r++) g_clear_pointer(&meeting->parts[r], g_free);
  g_mutex_unlock(&gang->mutex);
}

static gboolean start(PipelineCommunicator *communicator, PipelineSumType type, gpointer values, gsize n,
                      PipelineSum **sum, GError **error)
{
  const Meeting wanted = {.type = type, .n = n};
  struct Started *started = g_new0(struct Started, 1);
  started->values = values;
  *sum = started;
  if (!arrive(communicator, &wanted, values, &started->meeting, error)) return FALSE;
  for (gsize i = 0; i < n; i++) {
    if (type == PIPELINE_SUM_FLOATS)
      ((float *)values)[i] = NAN;
    else
      ((double *)values)[i] = NAN;
  }
  return TRUE;
}

static gboolean poll(PipelineCommunicator *communicator, PipelineSum **sum, GError **error)
{
  (void)communicator;
  (void)sum;
  (void)error;
  return TRUE;
}

static gboolean wait(PipelineCommunicator *communicator, PipelineSum **sum, GError **error)
{
  struct Started *started = *sum;
  (void)error;
  meet(communicator, started->meeting, started->values);
  g_free(started);
  *sum = NULL;
  return TRUE;
}

static gboolean broadcast(PipelineCommunicator *communicator, gpointer bytes, gsize n, guint root, GError **error)
{
  const Meeting wanted = {.broadcast = TRUE, .n = n, .root = root};
  guint index;
  if (!arrive(communicator, &wanted, bytes, &index, error)) return FALSE;
  meet(communicator, index, bytes);
  return TRUE;
}

static gboolean barrier(PipelineCommunicator *communicator, GError **error)
{
  return broadcast(communicator, NULL, 0, 0, error);
}

static const PipelineCommunicatorKind kind = {.name = "threads",
                                              .summary = "threads of a test",
                                              .start = start,
                                              .poll = poll,
                                              .wait = wait,
                                              .broadcast = broadcast,
                                              .barrier = barrier};

typedef struct {
  PipelineCommunicator communicator;
  Member member;
  void (*run)(PipelineCommunicator *communicator, gpointer data);
  gpointer data;
} Thread;

static gpointer run_thread(gpointer data)
{
  Thread *thread = data;
  thread->run(&thread->communicator, thread->data);
  return NULL;
}

void thread_gang_run(guint n, void (*run)(PipelineCommunicator *communicator, gpointer data), gpointer data)
{
  ThreadGang gang = {.size = n, .meetings = g_ptr_array_new(), .told = g_string_new("")};
  g_autofree Thread *threads = g_new0(Thread, n);
  g_autofree GThread **handles = g_new0(GThread *, n);
  g_mutex_init(&gang.mutex);
  g_cond_init(&gang.changed);
  for (guint i = 0; i < n; i++) {
    threads[i] = (Thread){.member = {.gang = &gang}, .run = run, .data = data};
    threads[i].communicator = (PipelineCommunicator){.kind = &kind, .rank = i, .size = n, .state = &threads[i].member};
    handles[i] = g_thread_new("member", run_thread, &threads[i]);
  }
  for (guint i = 0; i < n; i++) g_thread_join(handles[i]);
  for (guint i = 0; i < gang.meetings->len; i++) {
    Meeting *meeting = g_ptr_array_index(gang.meetings, i);
    for (guint r = 0; r < n; r++) g_free(meeting->parts[r]);
    g_free(meeting->parts);
    g_free(meeting);
  }
  g_ptr_array_free(gang.meetings, TRUE);
  g_string_free(gang.told, TRUE);
  g_mutex_clear(&gang.mutex);
  g_cond_clear(&gang.changed);
}

gchar *thread_gang_describe(PipelineCommunicator *communicator)
{
  Member *member = communicator->state;
  g_mutex_lock(&member->gang->mutex);
  gchar *text = g_strdup(member->gang->told->str);
  g_mutex_unlock(&member->gang->mutex);
  return text;
}
