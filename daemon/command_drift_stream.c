/* `kedge drift stream`: an online detector over one series. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "daemon/command_data.h"
#include "daemon/drift_stream_html.h"
#include "daemon/number_stream.h"
#include "daemon/settings.h"
#include "drift/detector.h"

extern const Command command_drift_stream;

typedef struct {
  gchar *method, *column, *html;
  gchar **options;
  gboolean list;
} StreamArguments;

static void arguments_clear(StreamArguments *arguments)
{
  g_free(arguments->method);
  g_free(arguments->column);
  g_free(arguments->html);
  g_strfreev(arguments->options);
}

static void print_methods(void)
{
  for (guint i = 0; drift_detector_types[i] != NULL; i++) {
    const DriftDetectorType *type = drift_detector_types[i];
    printf("%s\n    %s\n", type->name, type->summary);
    for (const gchar *const *line = type->option_help; *line != NULL; line++) printf("      %s\n", *line);
  }
}

typedef struct {
  json_int_t rows, missing, skipped;             /* skipped: values, but none that the detector takes */
  json_t *detections, *change_points, *warnings; /* borrowed by the report */
  gboolean prints;                               /* a line per detection, at once */
  SeriesShape *shape;                            /* for the page; NULL: none is asked for */
} Findings;

static void note(const DriftDetector *detector, double value, DriftSignal signal, Findings *findings)
{
  if (signal == DRIFT_SIGNAL_DRIFT) {
    json_array_append_new(findings->detections, json_integer(findings->rows));
    gint64 change = drift_detector_get_change_point(detector);
    json_array_append_new(findings->change_points, change >= 0 ? json_integer(change) : json_null());
    if (findings->prints) {
      printf("%" JSON_INTEGER_FORMAT "\n", findings->rows);
      fflush(stdout); /* the stream may be a pipe that goes on for days */
    }
  }
  if (signal == DRIFT_SIGNAL_WARNING && !findings->prints)
    json_array_append_new(findings->warnings, json_integer(findings->rows));
  double evidence = NAN, threshold;
  if (findings->shape != NULL) {
    drift_detector_get_evidence(detector, &evidence, &threshold);
    series_shape_add(findings->shape, value, evidence);
  }
  if (isnan(value))
    findings->missing++;
  else if (!drift_detector_takes(detector, value))
    findings->skipped++;
  findings->rows++;
}

/* FALSE with error when the stream breaks off. A page wants the evidence of every row, so that one is taken at a time.
 */
static gboolean watch(NumberStream *stream, DriftDetector *detector, Findings *findings, GError **error)
{
  enum { MOST = 1024 };
  double values[MOST];
  guint8 signals[MOST];
  guint n, most = findings->shape != NULL ? 1 : MOST;
  GError *broken = NULL;
  while ((n = number_stream_next_many(stream, values, most, &broken)) > 0) {
    for (gsize from = 0, to; from < n; from = to) {
      to = from + drift_detector_update_many(detector, values + from, n - from, signals + from);
      for (gsize i = from; i < to; i++) note(detector, values[i], (DriftSignal)signals[i], findings);
    }
  }
  if (broken == NULL) return TRUE;
  g_propagate_error(error, broken);
  return FALSE;
}

/* Skipped values are said, and when nothing else was there it is no answer that there was no drift. */
static gboolean check_skipped(const DriftDetector *detector, const Findings *findings, const gchar *path,
                              const gchar *column, gboolean quiet, GError **error)
{
  const gchar *method = detector->type->name, *takes = drift_detector_get_takes(detector);
  const gchar *name = strcmp(path, "-") == 0 ? "standard input" : path;
  if (findings->skipped == 0) return TRUE;
  if (findings->skipped + findings->missing == findings->rows) {
    g_set_error(error, DAEMON_ERROR, DAEMON_ERROR_DECODE,
                "%s: column \"%s\": %s takes %s, and none of the %" JSON_INTEGER_FORMAT " values is such", name, column,
                method, takes, findings->skipped);
    return FALSE;
  }
  if (!quiet)
    fprintf(stderr,
            "kedge drift stream: %s: column \"%s\": %" JSON_INTEGER_FORMAT " of %" JSON_INTEGER_FORMAT
            " values were skipped: %s takes %s\n",
            name, column, findings->skipped, findings->rows - findings->missing, method, takes);
  return TRUE;
}

static void add_number(const gchar *name, double value, gpointer user_data)
{
  json_object_set_new(user_data, name, isfinite(value) ? json_real(value) : json_null());
}

/* The state at the end: in numbers, and the bytes a detector is restored from. */
static json_t *describe_state(const DriftDetector *detector)
{
  json_t *state = json_object(), *numbers = json_object();
  g_autoptr(GBytes) bytes = drift_detector_to_bytes(detector);
  gsize length;
  const guchar *data = g_bytes_get_data(bytes, &length);
  g_autofree gchar *text = g_base64_encode(data, length);
  double evidence, threshold;
  if (drift_detector_get_evidence(detector, &evidence, &threshold)) {
    add_number("log_evidence", evidence, state);
    add_number("log_threshold", threshold, state);
  }
  drift_detector_describe(detector, add_number, numbers);
  json_object_set_new(state, "numbers", numbers);
  json_object_set_new(state, "size_bytes", json_integer((json_int_t)drift_detector_get_size(detector)));
  json_object_set_new(state, "base64", json_string(text));
  return state;
}

static int run_detector(const StreamArguments *arguments, const gchar *path, GHashTable *options, CommandCommon *common)
{
  g_autoptr(GError) error = NULL;
  const gchar *method = arguments->method != NULL ? arguments->method : "auto";
  g_autoptr(DriftDetector) detector = drift_detector_new(method, options, &error);
  if (detector == NULL) return command_usage(common, "%s", error->message);
  g_autoptr(NumberStream) stream = number_stream_open(path, arguments->column, &error);
  g_autofree SeriesShape *shape = arguments->html != NULL ? g_new0(SeriesShape, 1) : NULL;
  json_t *report = json_object();
  Findings findings = {.detections = json_array(),
                       .change_points = json_array(),
                       .warnings = json_array(),
                       .prints = !common->json,
                       .shape = shape};
  if (shape != NULL) shape->width = 1;
  json_object_set_new(report, "method", json_string(detector->type->name));
  json_object_set_new(report, "detections", findings.detections);
  json_object_set_new(report, "change_points", findings.change_points);
  json_object_set_new(report, "warnings", findings.warnings);
  if (stream == NULL || !watch(stream, detector, &findings, &error) ||
      !check_skipped(detector, &findings, path, number_stream_get_column(stream), common->quiet, &error)) {
    int status = command_fail(common, error);
    command_common_clear(common);
    json_decref(report);
    return status;
  }
  int status = json_array_size(findings.detections) > 0 ? COMMAND_NO : COMMAND_DONE;
  json_object_set_new(report, "column", json_string(number_stream_get_column(stream)));
  json_object_set_new(report, "rows", json_integer(findings.rows));
  json_object_set_new(report, "missing", json_integer(findings.missing));
  json_object_set_new(report, "skipped", json_integer(findings.skipped));
  json_object_set_new(report, "state", describe_state(detector));
  if (shape != NULL && !drift_stream_html_write(report, shape, arguments->html, &error)) {
    status = command_fail(common, error);
    common->json = FALSE;
  }
  if (common->json)
    command_print_json(report);
  else
    json_decref(report);
  command_common_clear(common);
  return status;
}

static int drift_stream_run(int argc, char **argv)
{
  StreamArguments arguments = {0};
  const GOptionEntry entries[] = {
      {"method", 'm', 0, G_OPTION_ARG_STRING, &arguments.method, "Detector (auto); --methods names them", "M"},
      {"option", 'o', 0, G_OPTION_ARG_STRING_ARRAY, &arguments.options, "Option of the detector", "K=V"},
      {"column", 'c', 0, G_OPTION_ARG_STRING, &arguments.column, "Column of the file", "X"},
      {"html", 0, 0, G_OPTION_ARG_FILENAME, &arguments.html, "Also write a self-contained page", "F"},
      {"methods", 0, 0, G_OPTION_ARG_NONE, &arguments.list, "List the detectors and their options", NULL},
      G_OPTION_ENTRY_NULL};
  CommandCommon common;
  int status = COMMAND_USAGE;
  const gchar *bad = NULL;
  g_autoptr(GHashTable) options = NULL;
  if (!command_parse(&command_drift_stream, &argc, &argv, entries, &common)) {
    status = COMMAND_USAGE;
  } else if (arguments.list) {
    print_methods();
    command_common_clear(&common);
    status = COMMAND_DONE;
  } else if ((options = command_parse_pairs(arguments.options, &bad)) == NULL) {
    status = command_usage(&common, "--option %s: it is K=V", bad);
  } else if (argc != 2) {
    status = command_usage(&common, "one FILE is needed, or - for standard input");
  } else {
    status = run_detector(&arguments, argv[1], options, &common);
  }
  arguments_clear(&arguments);
  return status;
}

const Command command_drift_stream = {
    .name = "drift stream",
    .arguments = "[--method M] [--option K=V]... [--column X] [--html F] FILE|-",
    .summary = "watch a series with an online detector",
    .help =
        "Reads one column of a CSV (or of a .npy array), row by row, and prints the 0-based index of every row at "
        "which the detector finds "
        "a drift, at once. An empty cell is a missing value: it is skipped, but counted in the indices; so are values "
        "that the detector cannot take (detectors of errors: 0 to 1; others: up to 1e100), which are counted as "
        "skipped. A file of "
        "one column of numbers may lack its header. --methods names the detectors and their options; the default, "
        "auto, takes any series and keeps a budget of false alarms (--option budget=0.1 --option rows=10000).\n\n"
        "--json prints one document at the end: the detections with the row each change is estimated to have begun "
        "at, the warnings of the detectors that have them, and the detector's state.\n\n"
        "Exit status: 0 no drift, 3 drift found, 1 the file is wrong.",
    .run = drift_stream_run};
