/* The NCCL plugin on a machine with a device: sums over one process, and what two processes on the same device are
 * told.
 *
 *     check_sums LIBKEDGE_NCCL.so      needs libnccl.so.2 and a device. Ends with "N passed, N failed"
 */
#include <dlfcn.h>
#include <glib.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "pipeline/cuda/nccl_table.h"
#include "tests/gpu/check.h"

static gboolean is_ramp(const float *values, gsize n, float from)
{
  for (gsize i = 0; i < n; i++)
    if (values[i] != from + (float)i) return FALSE;
  return TRUE;
}

static void fill_ramp(float *values, gsize n, float from)
{
  for (gsize i = 0; i < n; i++) values[i] = from + (float)i;
}

/* A sum over one process leaves the values as they are, having been to the device and back. */
static void check_alone(const PipelineNcclTable *table)
{
  gchar id[PIPELINE_NCCL_ID], why[PIPELINE_NCCL_WHY] = "";
  void *all = NULL, *requests[4] = {NULL};
  const gsize sizes[] = {1, 61706, 1000, 4194304};
  g_autofree float *values[4] = {NULL};
  gboolean begun = table->make_id(id, why) == 0 && table->open(0, 1, 0, id, &all, why) == 0;
  check_that(begun, "one process meets itself %s", why);
  if (!begun) return;
  gboolean all_started = TRUE, all_right = TRUE;
  for (guint turn = 0; turn < 3; turn++) { /* requests are used again, in another order of sizes */
    for (guint i = 0; i < 4; i++) {
      gsize n = sizes[(i + turn) % 4];
      values[i] = g_renew(float, values[i], n);
      fill_ramp(values[i], n, (float)turn);
      all_started = all_started && table->start_sum(all, values[i], n, &requests[i], why) == 0;
    }
    for (guint i = 0; i < 4 && all_started; i++) {
      all_right = all_right && table->wait(all, &requests[i], why) == 0 && requests[i] == NULL;
      all_right = all_right && is_ramp(values[i], sizes[(i + turn) % 4], (float)turn);
    }
  }
  check_that(all_started && all_right, "four sums at a time, up to 4,194,304 floats, three times %s", why);
  for (guint i = 1; i < 4; i++) g_clear_pointer(&values[i], g_free);
  table->close(all);
}

/* NCCL takes a device once: the plugin has to say so, and not to hang. The other process exits with 1 when it is
 * refused. */
static pid_t begin_other(const PipelineNcclTable *table, gint pipe_ends[2])
{
  gchar id[PIPELINE_NCCL_ID], why[PIPELINE_NCCL_WHY] = "";
  void *all = NULL;
  if (pipe(pipe_ends) != 0) return -1;
  pid_t other = fork(); /* before anything of CUDA runs */
  if (other != 0) return other;
  if (read(pipe_ends[0], id, sizeof id) != sizeof id) _exit(2);
  _exit(table->open(1, 2, 0, id, &all, why));
}

static void check_shared_device(const PipelineNcclTable *table)
{
  gchar id[PIPELINE_NCCL_ID], why[PIPELINE_NCCL_WHY] = "";
  gint pipe_ends[2], status = 0;
  void *all = NULL;
  pid_t other = begin_other(table, pipe_ends);
  gboolean told = other > 0 && table->make_id(id, why) == 0 && write(pipe_ends[1], id, sizeof id) == sizeof id;
  check_that(told, "an id for two processes %s", why);
  if (!told) return;
  gint failed = table->open(0, 2, 0, id, &all, why);
  waitpid(other, &status, 0);
  check_that(failed && WIFEXITED(status) && WEXITSTATUS(status) == 1 && strchr(why, '\n') == NULL,
             "two processes on one device are refused: %s", why);
}

int main(int argc, char **argv)
{
  void *library = argc == 2 ? dlopen(argv[1], RTLD_NOW | RTLD_LOCAL) : NULL;
  const PipelineNcclTable *(*get)(void) = NULL;
  if (library != NULL) *(void **)&get = dlsym(library, PIPELINE_NCCL_SYMBOL);
  if (get == NULL) {
    fprintf(stderr, "check_sums LIBKEDGE_NCCL.so: %s\n", argc == 2 ? dlerror() : "name the plugin");
    return 1;
  }
  if (access("/dev/nvidiactl", F_OK) != 0) {
    printf("SKIP: there is no NVIDIA driver here\n0 passed, 0 failed\n");
    return 0;
  }
  const PipelineNcclTable *table = get();
  check_that(table->abi == PIPELINE_NCCL_ABI && table->size == sizeof *table, "the table is this program's");
  check_shared_device(table);
  check_alone(table);
  return check_report();
}
