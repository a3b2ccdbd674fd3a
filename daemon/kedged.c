/* `kedged`: loads the settings, starts the parts in their threads, and in the main thread minds signals and systemd. */
#include <glib-unix.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#include "daemon/consumer.h"
#include "daemon/http.h"
#include "daemon/leader.h"
#include "daemon/log.h"
#include "daemon/outbox.h"

enum { EXIT_STOPPED = 0, EXIT_FAILED = 1, EXIT_WRONG_USE = 2 };
enum { STATUS_INTERVAL_MS = 1000, DRAIN_LIMIT_MS = 9500 };

typedef struct {
  gchar *config;
  Settings *settings;
  Health *health;
  Metrics *metrics;
  HttpServer *http;
  Consumer *consumer;
  Leader *leader;
  Outbox *outbox;
  GMainLoop *loop;
  gchar *status;       /* as last told to systemd */
  guint64 watchdog_us; /* 0: systemd does not ask */
} Daemon;

#define say(level, ...) g_log_structured(G_LOG_DOMAIN, level, "COMPONENT", "main", "MESSAGE", __VA_ARGS__)

/* --- starting and stopping the parts --------------------------------------------------------------------------- */

/* HTTP first: /readyz answers while the others are still looking for their broker and database. */
static gboolean start_parts(Daemon *daemon, GError **error)
{
  Settings *settings = daemon->settings;
  daemon->http = http_server_new(settings, daemon->health, daemon->metrics, error);
  if (daemon->http == NULL || !http_server_start(daemon->http, error)) return FALSE;
  if (http_server_get_port(daemon->http) > 0)
    say(G_LOG_LEVEL_INFO, "http listens on port %u of %s", http_server_get_port(daemon->http), settings->http.listen);
  if (*settings->http.socket != '\0') say(G_LOG_LEVEL_INFO, "http listens on %s", settings->http.socket);
  daemon->consumer = consumer_new(settings, daemon->health, daemon->metrics, error);
  if (daemon->consumer == NULL) return FALSE;
  daemon->leader = leader_new(settings, daemon->health, daemon->metrics, error);
  if (daemon->leader == NULL) return FALSE;
  daemon->outbox = outbox_new(settings, daemon->health, daemon->metrics, error);
  if (daemon->outbox == NULL) return FALSE;
  consumer_start(daemon->consumer);
  leader_start(daemon->leader);
  outbox_start(daemon->outbox);
  return TRUE;
}

/* All state is in transactions: a part that cannot stop in time is cut off and loses nothing that was promised. */
static gpointer cut_off(gpointer data)
{
  (void)data;
  g_usleep((gulong)DRAIN_LIMIT_MS * 1000);
  say(G_LOG_LEVEL_WARNING, "a part did not stop within %.1f s; ending without it", DRAIN_LIMIT_MS / 1000.);
  _exit(EXIT_FAILED);
}

/* Against the data's direction: what feeds the others stops first. */
static void stop_parts(Daemon *daemon)
{
  g_thread_unref(g_thread_new("drain", cut_off, NULL));
  if (daemon->consumer != NULL) consumer_stop(daemon->consumer);
  if (daemon->leader != NULL) leader_stop(daemon->leader);
  if (daemon->outbox != NULL) outbox_stop(daemon->outbox);
  if (daemon->http != NULL) http_server_stop(daemon->http);
}

static void free_parts(Daemon *daemon)
{
  g_clear_pointer(&daemon->consumer, consumer_free);
  g_clear_pointer(&daemon->leader, leader_free);
  g_clear_pointer(&daemon->outbox, outbox_free);
  g_clear_pointer(&daemon->http, http_server_free);
}

/* --- reload: all or nothing ------------------------------------------------------------------------------------ */

/* What the running parts have bound or opened. NULL: nothing of it changed; else the option's name. */
static const gchar *find_fixed_change(const Settings *old, const Settings *new)
{
  const struct {
    const gchar *option, *old, *new;
  } fixed[] = {{"store", old->store, new->store},
               {"artifacts", old->artifacts, new->artifacts},
               {"http.listen", old->http.listen, new->http.listen},
               {"http.socket", old->http.socket, new->http.socket},
               {"broker.source", old->broker.source, new->broker.source},
               {"broker.brokers", old->broker.brokers, new->broker.brokers},
               {"broker.group", old->broker.group, new->broker.group},
               {"broker.directory", old->broker.directory, new->broker.directory}};
  for (guint i = 0; i < G_N_ELEMENTS(fixed); i++) {
    if (g_strcmp0(fixed[i].old, fixed[i].new) != 0) return fixed[i].option;
  }
  return NULL;
}

static Settings *load_changed(const Daemon *daemon, GError **error)
{
  g_autoptr(Settings) settings = settings_load(daemon->config, error);
  if (settings == NULL) return NULL;
  const gchar *option = find_fixed_change(daemon->settings, settings);
  if (option == NULL) return g_steal_pointer(&settings);
  g_set_error(error, DAEMON_ERROR, DAEMON_ERROR_SETTINGS, "%s: %s needs a restart to change", daemon->config, option);
  return NULL;
}

static gboolean on_reload(gpointer data)
{
  Daemon *daemon = data;
  g_autoptr(GError) error = NULL;
  sd_notifyf(0, "RELOADING=1\nMONOTONIC_USEC=%" G_GINT64_FORMAT, g_get_monotonic_time());
  Settings *settings = load_changed(daemon, &error);
  if (settings != NULL) {
    consumer_reload(daemon->consumer, settings);
    leader_reload(daemon->leader, settings);
    outbox_reload(daemon->outbox, settings);
    settings_unref(daemon->settings);
    daemon->settings = settings;
    say(G_LOG_LEVEL_MESSAGE, "the settings of %s are in force", daemon->config);
  } else
    say(G_LOG_LEVEL_WARNING, "reload refused, the old settings stay in force: %s", error->message);
  metrics_add(daemon->metrics, "kedge_reloads_total", settings != NULL ? "result=\"done\"" : "result=\"refused\"", 1);
  sd_notify(0, "READY=1");
  return G_SOURCE_CONTINUE;
}

/* --- the main loop --------------------------------------------------------------------------------------------- */

static gboolean on_stop(gpointer data)
{
  Daemon *daemon = data;
  say(G_LOG_LEVEL_MESSAGE, "stopping");
  g_main_loop_quit(daemon->loop);
  return G_SOURCE_CONTINUE;
}

static gboolean on_status(gpointer data)
{
  Daemon *daemon = data;
  g_autofree gchar *status = health_summary(daemon->health);
  if (g_strcmp0(status, daemon->status) == 0) return G_SOURCE_CONTINUE;
  sd_notifyf(0, "STATUS=%s", status);
  g_free(daemon->status);
  daemon->status = g_steal_pointer(&status);
  return G_SOURCE_CONTINUE;
}

/* Not fed while any part stands still: systemd then ends and restarts the daemon. */
static gboolean on_watchdog(gpointer data)
{
  Daemon *daemon = data;
  g_autofree gchar *who = NULL;
  if (health_is_alive(daemon->health, (gint64)daemon->watchdog_us, &who))
    sd_notify(0, "WATCHDOG=1");
  else
    say(G_LOG_LEVEL_WARNING, "the watchdog is not fed: %s", who);
  return G_SOURCE_CONTINUE;
}

static void run_loop(Daemon *daemon)
{
  daemon->loop = g_main_loop_new(NULL, FALSE);
  g_unix_signal_add(SIGTERM, on_stop, daemon);
  g_unix_signal_add(SIGINT, on_stop, daemon);
  g_unix_signal_add(SIGHUP, on_reload, daemon);
  g_timeout_add(STATUS_INTERVAL_MS, on_status, daemon);
  if (sd_watchdog_enabled(0, &daemon->watchdog_us) > 0)
    g_timeout_add((guint)MAX(daemon->watchdog_us / 3000, 100), on_watchdog, daemon);
  g_main_loop_run(daemon->loop);
  g_main_loop_unref(daemon->loop);
}

static int run(Daemon *daemon, gint64 started_at)
{
  g_autoptr(GError) error = NULL;
  int status = EXIT_STOPPED;
  daemon->settings = settings_load(daemon->config, &error);
  if (daemon->settings == NULL) {
    say(G_LOG_LEVEL_CRITICAL, "%s", error->message);
    return EXIT_FAILED;
  }
  daemon->health = health_new();
  daemon->metrics = metrics_new();
  if (start_parts(daemon, &error)) {
    double seconds = (double)(g_get_monotonic_time() - started_at) / G_USEC_PER_SEC;
    say(G_LOG_LEVEL_MESSAGE, "kedged %s started in %.0f ms", KEDGE_VERSION, seconds * 1000);
    sd_notify(0, "READY=1");
    run_loop(daemon);
    sd_notify(0, "STOPPING=1");
  } else {
    say(G_LOG_LEVEL_CRITICAL, "%s", error->message);
    status = EXIT_FAILED;
  }
  stop_parts(daemon);
  free_parts(daemon);
  metrics_free(daemon->metrics);
  health_free(daemon->health);
  settings_unref(daemon->settings);
  g_free(daemon->status);
  if (status == EXIT_STOPPED) say(G_LOG_LEVEL_MESSAGE, "stopped");
  return status;
}

/* --- the command line ------------------------------------------------------------------------------------------ */

static gboolean root_is_refused(gboolean allowed)
{
  if (geteuid() != 0 || allowed || g_strcmp0(g_getenv("KEDGE_ALLOW_ROOT"), "1") == 0) return FALSE;
  fputs("kedged: it needs no privileges and does not run as root; use the kedge user (--allow-root overrides)\n",
        stderr);
  return TRUE;
}

int main(int argc, char **argv)
{
  gint64 started_at = g_get_monotonic_time();
  gboolean version = FALSE, allow_root = FALSE, foreground = FALSE;
  Daemon daemon = {0};
  const GOptionEntry entries[] = {
      {"config", 'c', 0, G_OPTION_ARG_FILENAME, &daemon.config, "settings file (default: /etc/kedge/kedge.yaml)",
       "FILE"},
      {"foreground", 'f', 0, G_OPTION_ARG_NONE, &foreground, "stay in the foreground (always so)", NULL},
      {"allow-root", 0, 0, G_OPTION_ARG_NONE, &allow_root, "run as root all the same", NULL},
      {"version", 0, 0, G_OPTION_ARG_NONE, &version, "print the version", NULL},
      G_OPTION_ENTRY_NULL};
  g_autoptr(GError) error = NULL;
  g_autoptr(GOptionContext) context = g_option_context_new("- watch models, retrain them, roll them out");
  g_option_context_add_main_entries(context, entries, NULL);
  if (!g_option_context_parse(context, &argc, &argv, &error) || argc > 1) {
    fprintf(stderr, "kedged: %s (see kedged --help)\n", error != NULL ? error->message : "no argument is taken");
    return EXIT_WRONG_USE;
  }
  if (version) {
    puts("kedged " KEDGE_VERSION);
    return EXIT_STOPPED;
  }
  if (root_is_refused(allow_root)) return EXIT_FAILED;
  if (daemon.config == NULL) daemon.config = g_strdup("/etc/kedge/kedge.yaml");
  signal(SIGPIPE, SIG_IGN); /* a peer that went away is an error of its call */
  umask(0027);
  log_start();
  int status = run(&daemon, started_at);
  g_free(daemon.config);
  return status;
}
