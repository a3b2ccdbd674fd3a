/* The process_… metrics that every Prometheus client library exports, from /proc (source: proc(5)). */
#include "daemon/metrics_internal.h"

#include <math.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* Fields of /proc/self/stat after the command in parentheses, counted from 0. */
enum { STAT_UTIME = 11, STAT_STIME = 12, STAT_START = 19, STAT_RSS = 21, STAT_N = 22 };

static gboolean read_stat(gint64 *fields)
{
  g_autofree gchar *text = NULL;
  if (!g_file_get_contents("/proc/self/stat", &text, NULL, NULL)) return FALSE;
  const gchar *rest = strrchr(text, ')'); /* the name may hold spaces and parentheses */
  if (rest == NULL || strlen(rest) < 2) return FALSE;
  g_auto(GStrv) words = g_strsplit(rest + 2, " ", -1);
  if (g_strv_length(words) < STAT_N) return FALSE;
  for (guint i = 1; i < STAT_N; i++) fields[i] = g_ascii_strtoll(words[i], NULL, 10);
  return TRUE;
}

static guint count_descriptors(void)
{
  g_autoptr(GDir) folder = g_dir_open("/proc/self/fd", 0, NULL);
  guint n = 0;
  if (folder == NULL) return 0;
  while (g_dir_read_name(folder) != NULL) n++;
  return n > 0 ? n - 1 : 0; /* without the one that reads the folder */
}

void metrics_update_process(Metrics *metrics)
{
  gint64 fields[STAT_N] = {0};
  if (read_stat(fields)) {
    double ticks = (double)sysconf(_SC_CLK_TCK);
    struct timespec boot;
    clock_gettime(CLOCK_BOOTTIME, &boot);
    double boot_at = (double)g_get_real_time() / 1e6 - ((double)boot.tv_sec + (double)boot.tv_nsec / 1e9);
    metrics_set(metrics, "process_cpu_seconds_total", NULL, (double)(fields[STAT_UTIME] + fields[STAT_STIME]) / ticks);
    metrics_set(metrics, "process_resident_memory_bytes", NULL, (double)(fields[STAT_RSS] * sysconf(_SC_PAGESIZE)));
    metrics_set(metrics, "process_start_time_seconds", NULL,
                /* whole seconds: the two clocks read above must not make it move between scrapes */
                round(boot_at + (double)fields[STAT_START] / ticks));
  }
  metrics_set(metrics, "process_open_fds", NULL, count_descriptors());
}
