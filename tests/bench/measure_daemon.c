/* Runs kedged on a settings file until its shards have stored what they were to read, and says what that cost.
 *
 *   measure_daemon --program build/kedged --config F --store URI --model M… --partitions P --events N [--labels L]
 *   measure_daemon --program build/kedged --config F --repeat 20            start to READY only
 *   measure_daemon --program build/kedged --config F --settle 2000          memory after so many milliseconds
 *
 * CPU is user + system of the whole process, from its start to the moment at which the registry shows the last offset;
 * the registry is asked every 5 ms. READY comes over a notify socket, as systemd would get it. One line of JSON. */
#include <dirent.h>
#include <glib.h>
#include <glib/gstdio.h>
#include <jansson.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "registry/shard.h"

typedef struct {
  gchar *program, *config, *store, *log;
  gchar **models;
  gint partitions, repeat, settle_ms, limit_s;
  gint64 events, labels; /* events: of each model; labels: that each shard reads */
} Options;

typedef struct {
  pid_t process;
  gint64 began;
  double ready_ms;
} Running;

/* --- the process -----------------------------------------------------------------------------------------------------
 */

static int open_notify_socket(gchar *path, gsize size)
{
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  g_snprintf(path, size, "/tmp/kedge-bench-notify-%d", (int)getpid());
  g_unlink(path);
  g_strlcpy(address.sun_path, path, sizeof address.sun_path);
  int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (fd >= 0 && bind(fd, (struct sockaddr *)&address, sizeof address) == 0) return fd;
  perror("measure_daemon: notify socket");
  exit(EXIT_FAILURE);
}

static gboolean wait_for_ready(int fd, pid_t process, gint64 until)
{
  gchar text[4096];
  while (g_get_monotonic_time() < until && waitpid(process, NULL, WNOHANG) == 0) {
    struct pollfd watched = {.fd = fd, .events = POLLIN};
    if (poll(&watched, 1, 50) <= 0) continue;
    ssize_t length = recv(fd, text, sizeof text - 1, 0);
    if (length <= 0) continue;
    text[length] = '\0';
    if (strstr(text, "READY=1") != NULL) return TRUE;
  }
  return FALSE;
}

static Running start(const Options *options)
{
  gchar path[100];
  int fd = open_notify_socket(path, sizeof path);
  Running running = {.began = g_get_monotonic_time()};
  running.process = fork();
  if (running.process == 0) {
    setenv("NOTIFY_SOCKET", path, 1);
    setenv("KEDGE_ALLOW_ROOT", "1", 1);
    if (options->log != NULL &&
        (freopen(options->log, "a", stderr) == NULL || freopen(options->log, "a", stdout) == NULL))
      _exit(127);
    execl(options->program, options->program, "--config", options->config, NULL);
    _exit(127);
  }
  if (!wait_for_ready(fd, running.process, running.began + 30 * G_USEC_PER_SEC)) {
    fprintf(stderr, "measure_daemon: %s did not say READY\n", options->program);
    exit(EXIT_FAILURE);
  }
  running.ready_ms = (double)(g_get_monotonic_time() - running.began) / 1000;
  close(fd);
  g_unlink(path);
  return running;
}

static void end(const Running *running)
{
  kill(running->process, SIGTERM);
  waitpid(running->process, NULL, 0);
}

/* --- what it used ----------------------------------------------------------------------------------------------------
 */

/* User + system seconds from a stat file of /proc; the name in brackets may hold anything. */
static double read_cpu(const gchar *path, gchar name[64])
{
  g_autofree gchar *text = NULL;
  unsigned long user = 0, system = 0;
  if (!g_file_get_contents(path, &text, NULL, NULL)) return -1;
  gchar *open = strchr(text, '('), *close = strrchr(text, ')');
  if (open == NULL || close == NULL) return -1;
  if (name != NULL) g_snprintf(name, 64, "%.*s", (int)(close - open - 1), open + 1);
  if (sscanf(close + 2, "%*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &user, &system) != 2) return -1;
  return (double)(user + system) / (double)sysconf(_SC_CLK_TCK);
}

static double read_memory_mib(pid_t process, const gchar *key)
{
  g_autofree gchar *path = g_strdup_printf("/proc/%d/status", (int)process), *text = NULL;
  if (!g_file_get_contents(path, &text, NULL, NULL)) return -1;
  const gchar *at = strstr(text, key);
  return at == NULL ? -1 : strtod(at + strlen(key) + 1, NULL) / 1024;
}

/* CPU seconds by thread name. */
static json_t *read_threads(pid_t process)
{
  json_t *threads = json_object();
  g_autofree gchar *folder = g_strdup_printf("/proc/%d/task", (int)process);
  DIR *directory = opendir(folder);
  for (struct dirent *entry; directory != NULL && (entry = readdir(directory)) != NULL;) {
    gchar name[64];
    g_autofree gchar *path = g_strdup_printf("%s/%s/stat", folder, entry->d_name);
    double cpu = entry->d_name[0] == '.' ? -1 : read_cpu(path, name);
    if (cpu >= 0.01)
      json_object_set_new(threads, name, json_real(cpu + json_number_value(json_object_get(threads, name))));
  }
  if (directory != NULL) closedir(directory);
  return threads;
}

static void put_usage(json_t *result, const Running *running)
{
  g_autofree gchar *path = g_strdup_printf("/proc/%d/stat", (int)running->process);
  json_object_set_new(result, "cpu_s", json_real(read_cpu(path, NULL)));
  json_object_set_new(result, "wall_s", json_real((double)(g_get_monotonic_time() - running->began) / G_USEC_PER_SEC));
  json_object_set_new(result, "rss_mib", json_real(read_memory_mib(running->process, "VmRSS")));
  json_object_set_new(result, "peak_rss_mib", json_real(read_memory_mib(running->process, "VmHWM")));
  json_object_set_new(result, "ready_ms", json_real(running->ready_ms));
  json_object_set_new(result, "threads_cpu_s", read_threads(running->process));
}

/* --- progress --------------------------------------------------------------------------------------------------------
 */

static gint64 count_labels(const gchar *consumed)
{
  json_t *root = consumed == NULL ? NULL : json_loads(consumed, 0, NULL), *value;
  const char *key;
  gint64 sum = 0;
  json_object_foreach (json_object_get(root, "labels"), key, value) sum += json_integer_value(value);
  json_decref(root);
  return sum;
}

static gboolean is_done(RegistryStore *store, const gchar *model, const Options *options)
{
  g_autoptr(GError) error = NULL;
  g_autoptr(GPtrArray) shards = registry_shard_list(store, model, &error);
  gint64 events = 0;
  if (shards == NULL || shards->len < (guint)options->partitions) return FALSE;
  for (guint i = 0; i < shards->len; i++) {
    const RegistryShardStatus *status = shards->pdata[i];
    events += MAX(status->next_offset, 0);
    if (options->labels > 0 && count_labels(status->consumed) < options->labels) return FALSE;
  }
  return events >= options->events;
}

static gboolean wait_until_done(const Options *options, const Running *running)
{
  g_autoptr(GError) error = NULL;
  RegistryStore *store = registry_store_open(options->store, &error);
  gint64 until = running->began + (gint64)options->limit_s * G_USEC_PER_SEC;
  guint done = 0, n = g_strv_length(options->models);
  if (store == NULL) fprintf(stderr, "measure_daemon: %s\n", error->message);
  while (store != NULL && done < n && g_get_monotonic_time() < until && waitpid(running->process, NULL, WNOHANG) == 0) {
    if (is_done(store, options->models[done], options))
      done++;
    else
      g_usleep(5000);
  }
  if (done < n) fprintf(stderr, "measure_daemon: %s was not read to its end\n", options->models[done]);
  if (store != NULL) registry_store_close(store);
  return done == n;
}

static gboolean measure(const Options *options, json_t *result)
{
  if (options->repeat > 0) {
    json_t *list = json_array();
    for (gint i = 0; i < options->repeat; i++) {
      Running running = start(options);
      json_array_append_new(list, json_real(running.ready_ms));
      end(&running);
    }
    json_object_set_new(result, "ready_ms", list);
    return TRUE;
  }
  Running running = start(options);
  gboolean good = options->models == NULL || wait_until_done(options, &running);
  if (options->settle_ms > 0) g_usleep((gulong)options->settle_ms * 1000);
  if (good) put_usage(result, &running);
  end(&running);
  return good;
}

int main(int argc, char **argv)
{
  Options options = {.partitions = 1, .limit_s = 120};
  const GOptionEntry entries[] = {
      {"program", 0, 0, G_OPTION_ARG_FILENAME, &options.program, "kedged", "F"},
      {"config", 0, 0, G_OPTION_ARG_FILENAME, &options.config, "its settings", "F"},
      {"log", 0, 0, G_OPTION_ARG_FILENAME, &options.log, "file for what it says", "F"},
      {"store", 0, 0, G_OPTION_ARG_STRING, &options.store, "the registry to watch", "URI"},
      {"model", 0, 0, G_OPTION_ARG_STRING_ARRAY, &options.models, "a model to wait for", "M"},
      {"partitions", 0, 0, G_OPTION_ARG_INT, &options.partitions, "shards of each model", "N"},
      {"events", 0, 0, G_OPTION_ARG_INT64, &options.events, "events of each model", "N"},
      {"labels", 0, 0, G_OPTION_ARG_INT64, &options.labels, "labels that each shard reads", "N"},
      {"repeat", 0, 0, G_OPTION_ARG_INT, &options.repeat, "only start to READY, so many times", "N"},
      {"settle", 0, 0, G_OPTION_ARG_INT, &options.settle_ms, "wait so long before measuring", "MS"},
      {"limit", 0, 0, G_OPTION_ARG_INT, &options.limit_s, "give up after so many seconds (120)", "S"},
      G_OPTION_ENTRY_NULL};
  g_autoptr(GError) error = NULL;
  g_autoptr(GOptionContext) context = g_option_context_new("- what kedged costs");
  g_option_context_add_main_entries(context, entries, NULL);
  if (!g_option_context_parse(context, &argc, &argv, &error) || argc > 1 || options.program == NULL ||
      options.config == NULL || (options.models != NULL && options.store == NULL)) {
    fprintf(stderr, "measure_daemon: %s (see --help)\n", error != NULL ? error->message : "an option is missing");
    return 2;
  }
  json_t *result = json_object();
  gboolean good = measure(&options, result);
  if (good) {
    json_dumpf(result, stdout, JSON_REAL_PRECISION(6));
    putchar('\n');
  }
  json_decref(result);
  return good ? EXIT_SUCCESS : EXIT_FAILURE;
}
