/* The mixture on a stream, as tests/loop runs the daemon, but through the library: the first WARMUP rows train the
 * base, the rest is served in order; labels come DELAY rows late, in panes.
 *
 * usage: mixture_loop FILE.csv LABEL [NAME=VALUE…]
 *   warmup=4000 delay=500 pane=10 warm=1500 (rows that the ridges begin with) seed=1 architecture=mlp:64,64 ("" : no
 *   training) shuffle=0 gate=0 (1: a revision serves only when it is not worse than the one before on the rows since;
 *   2: only when it is better; 3: as the daemon does: when it is better, or when it is not worse and trained, knows
 *   2,000 rows more, or answers 5 of the rows otherwise) out=FILE.onnx (the last revision; FILE.onnx.csv: its
 * probabilities of the last 500 rows) exclude=A,B, and every option of PipelineMixtureOptions that is a number prints
 * one JSON line. */
#include <locale.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pipeline/csv.h"
#include "pipeline/mixture.h"
#include "pipeline/model_spec.h"
#include "pipeline/trainer.h"
#include "pipeline/trainer_random.h"

typedef struct {
  const gchar *path, *label, *architecture, *exclude, *out;
  double warmup, delay, pane, warm, seed, shuffle, gate, verbose, trace;
  PipelineMixtureOptions mixture;
} Options;

static void fail(GError *error)
{
  fprintf(stderr, "mixture_loop: %s\n", error->message);
  exit(1);
}

static void parse_option(Options *options, const gchar *text)
{
  const struct {
    const gchar *name;
    double *real;
    guint *count;
  } table[] = {{"warmup", &options->warmup, NULL},
               {"delay", &options->delay, NULL},
               {"pane", &options->pane, NULL},
               {"warm", &options->warm, NULL},
               {"seed", &options->seed, NULL},
               {"shuffle", &options->shuffle, NULL},
               {"gate", &options->gate, NULL},
               {"verbose", &options->verbose, NULL},
               {"trace", &options->trace, NULL},
               {"rate", &options->mixture.rate, NULL},
               {"share", &options->mixture.share, NULL},
               {"penalty", &options->mixture.penalty, NULL},
               {"forgetting", &options->mixture.forgetting, NULL},
               {"alarm", &options->mixture.alarm, NULL},
               {"takeover", &options->mixture.takeover, NULL},
               {"weight_decay", &options->mixture.weight_decay, NULL},
               {"keep_rows", NULL, &options->mixture.keep_rows},
               {"tokens", &options->mixture.tokens, NULL},
               {"token_rows", NULL, &options->mixture.token_rows},
               {"history", NULL, &options->mixture.history},
               {"block", NULL, &options->mixture.block},
               {"experts", NULL, &options->mixture.experts},
               {"step_1", NULL, &options->mixture.steps[0]},
               {"step_2", NULL, &options->mixture.steps[1]},
               {"step_3", NULL, &options->mixture.steps[2]},
               {"step_4", NULL, &options->mixture.steps[3]}};
  g_auto(GStrv) parts = g_strsplit(text, "=", 2);
  const struct {
    const gchar *name;
    const gchar **text;
  } texts[] = {{"architecture", &options->architecture}, {"exclude", &options->exclude}, {"out", &options->out}};
  for (guint i = 0; parts[1] != NULL && i < G_N_ELEMENTS(texts); i++) {
    if (!g_str_equal(parts[0], texts[i].name)) continue;
    *texts[i].text = g_strdup(parts[1]);
    return;
  }
  for (guint i = 0; parts[1] != NULL && i < G_N_ELEMENTS(table); i++) {
    if (!g_str_equal(parts[0], table[i].name)) continue;
    if (table[i].real) *table[i].real = g_ascii_strtod(parts[1], NULL);
    if (table[i].count) *table[i].count = (guint)g_ascii_strtoull(parts[1], NULL, 10);
    return;
  }
  fprintf(stderr, "mixture_loop: there is no option %s\n", text);
  exit(2);
}

static DriftTable *slice(const DriftTable *table, const guint64 *order, guint64 first, guint64 next)
{
  return drift_table_select(table, order + first, next - first);
}

typedef struct {
  const Options *options;
  DriftSchema *schema;
  DriftTable *stream; /* rows after the warm-up */
  float *truth;       /* class of each */
  guint8 *wrong, *base_wrong;
  guint64 n;
  PipelineMixture *learner, *serving;
  guint alarms, takeovers, trainings, revisions, trained; /* trained: trainings at the last revision */
} Loop;

static GBytes *train_base(Loop *loop, const DriftTable *warmup)
{
  PipelineTrainOptions options;
  PipelineTrainResult result = {0};
  GError *error = NULL;
  pipeline_train_options_init(&options);
  options.seed = (guint64)loop->options->seed;
  if (!pipeline_train(warmup, loop->schema, &options, NULL, NULL, &result, &error)) fail(error);
  GBytes *onnx = g_bytes_ref(result.onnx);
  pipeline_train_result_clear(&result);
  return onnx;
}

static void serve(Loop *loop, PipelineMixture *mixture, guint64 first, guint64 next, guint8 *wrong)
{
  GError *error = NULL;
  guint classes = loop->schema->classes->len;
  g_autofree guint64 *rows = g_new(guint64, next - first + 1);
  g_autofree double *p = g_new(double, (next - first) * classes + 1);
  for (guint64 i = first; i < next; i++) rows[i - first] = i;
  g_autoptr(DriftTable) table = drift_table_select(loop->stream, rows, next - first);
  if (!pipeline_mixture_predict(mixture, table, p, &error)) fail(error);
  for (guint64 i = first; i < next; i++) {
    guint best = 0;
    for (guint c = 1; c < classes; c++)
      if (p[(i - first) * classes + c] > p[(i - first) * classes + best]) best = c;
    wrong[i] = (float)best != loop->truth[i];
  }
}

static PipelineMixture *copy_of(Loop *loop, PipelineMixture *mixture)
{
  GError *error = NULL;
  g_autoptr(GBytes) onnx = pipeline_mixture_to_onnx(mixture, &error);
  PipelineMixture *copy = onnx ? pipeline_mixture_from_onnx(onnx, loop->schema, &error) : NULL;
  if (copy == NULL) fail(error);
  return copy;
}

/* Whether the learner and what serves (wrong at frozen) answer at least 5 rows differently; two classes. */
static gboolean answers_otherwise(Loop *loop, guint64 since, guint64 next, const guint8 *frozen)
{
  g_autofree guint8 *now = g_new(guint8, loop->n);
  guint n = 0;
  serve(loop, loop->learner, since, next, now);
  for (guint64 i = since; i < next; i++) n += frozen[i] != now[i];
  return n >= 5;
}

/* The revision takes over unless a gate on the rows since the last one, judged before they were learned, is against it.
 */
static void revise(Loop *loop, guint64 since, guint64 next, const guint8 *ahead)
{
  if (loop->options->gate > 0) {
    g_autofree guint8 *frozen = g_new(guint8, loop->n);
    gint gain = 0;
    serve(loop, loop->serving, since, next, frozen);
    for (guint64 i = since; i < next; i++) gain += frozen[i] - ahead[i];
    gboolean much = loop->trainings != loop->trained || next - since >= 2000;
    if (loop->options->gate == 3 && gain == 0 && !much) much = answers_otherwise(loop, since, next, frozen);
    gboolean strict = loop->options->gate == 2 || (loop->options->gate == 3 && !much);
    if (strict ? gain <= 0 : gain < 0) return;
    loop->trained = loop->trainings;
  }
  pipeline_mixture_free(loop->serving);
  loop->serving = copy_of(loop, loop->learner);
  loop->revisions++;
}

static void run(Loop *loop)
{
  GError *error = NULL;
  guint64 pane = (guint64)loop->options->pane, delay = (guint64)loop->options->delay, since = 0;
  g_autofree guint8 *ahead = g_new0(guint8, loop->n);
  gboolean gated = loop->options->gate > 0;
  loop->serving = gated ? copy_of(loop, loop->learner) : loop->learner;
  for (guint64 at = 0; at < loop->n; at += pane) {
    guint64 end = MIN(at + pane, loop->n);
    if (at >= delay) { /* labels of rows below at - delay have come */
      guint64 known = (at - delay) / pane * pane, before = (guint64)pipeline_mixture_get_rows(loop->learner);
      PipelineMixtureStep step = {0};
      if (!pipeline_mixture_learn(loop->learner, loop->stream, 0, (gint64)known, &step, &error)) fail(error);
      for (guint i = 0; i < step.n_rows; i++) ahead[before + i] = step.errors->data[i];
      loop->alarms += step.alarms;
      loop->takeovers += step.takeovers;
      loop->trainings += step.trainings;
      if (loop->options->verbose > 0 && (step.alarms || step.takeovers || step.trainings)) {
        g_autofree gchar *text = pipeline_mixture_describe(loop->learner);
        fprintf(stderr, "%s labels: %u alarms (change %s), %u takeovers, %u trainings; %s\n",
                g_strdup_printf("%" G_GUINT64_FORMAT, known), step.alarms,
                g_strdup_printf("%" G_GINT64_FORMAT, step.change_row), step.takeovers, step.trainings, text);
      }
      pipeline_mixture_step_clear(&step);
      guint was = loop->revisions;
      if (gated && known > since) revise(loop, since, known, ahead);
      if (loop->revisions != was) since = known;
      if (!gated) loop->revisions += known > before;
    }
    serve(loop, loop->serving, at, end, loop->wrong);
  }
}

static void write_last(Loop *loop, GBytes *onnx)
{
  GError *error = NULL;
  const gchar *path = loop->options->out;
  guint classes = loop->schema->classes->len;
  guint64 n = MIN(loop->n, 500), first = loop->n - n;
  g_autofree double *p = g_new(double, n *classes);
  g_autofree guint64 *rows = g_new(guint64, n);
  g_autofree gchar *csv = g_strconcat(path, ".csv", NULL);
  g_autoptr(GString) text = g_string_new("row");
  for (guint64 i = 0; i < n; i++) rows[i] = first + i;
  g_autoptr(DriftTable) table = drift_table_select(loop->stream, rows, n);
  if (!pipeline_mixture_predict(loop->learner, table, p, &error)) fail(error);
  for (guint c = 0; c < classes; c++) g_string_append_printf(text, ",p%u", c);
  for (guint64 i = 0; i < n; i++) {
    g_string_append_printf(text, "\n%" G_GUINT64_FORMAT, first + i + (guint64)loop->options->warmup);
    for (guint c = 0; c < classes; c++) g_string_append_printf(text, ",%.9g", p[i * classes + c]);
  }
  g_string_append_c(text, '\n');
  gsize length = 0;
  const gchar *bytes = g_bytes_get_data(onnx, &length);
  if (!g_file_set_contents(path, bytes, (gssize)length, &error) || !g_file_set_contents(csv, text->str, -1, &error))
    fail(error);
}

static guint64 *order_rows(const Options *options, guint64 n)
{
  guint64 *order = g_new(guint64, n + 1);
  PipelineRandom random;
  for (guint64 i = 0; i < n; i++) order[i] = i;
  pipeline_random_seed(&random, (guint64)options->seed);
  if (options->shuffle > 0) pipeline_random_shuffle(&random, order, n);
  return order;
}

int main(int argc, char **argv)
{
  setlocale(LC_ALL, "C");
  if (argc < 3) return 2;
  GError *error = NULL;
  Options options = {.path = argv[1],
                     .label = argv[2],
                     .architecture = "mlp:64,64",
                     .warmup = 4000,
                     .delay = 500,
                     .pane = 10,
                     .warm = 1500,
                     .seed = 1,
                     .exclude = ""};
  pipeline_mixture_options_init(&options.mixture);
  for (int i = 3; i < argc; i++) parse_option(&options, argv[i]);
  options.mixture.architecture = *options.architecture ? options.architecture : NULL;
  options.mixture.seed = (guint64)options.seed;
  g_autoptr(DriftTable) table = pipeline_csv_read(options.path, &error);
  if (!table) fail(error);
  g_auto(GStrv) exclude = g_strsplit(options.exclude, ",", -1);
  g_autofree guint64 *order = order_rows(&options, table->n_rows);
  guint64 warmup = (guint64)options.warmup, warm = (guint64)options.warm;
  g_autoptr(DriftTable) first = slice(table, order, 0, warmup), stream = slice(table, order, warmup, table->n_rows);
  g_autoptr(DriftTable) warming = slice(table, order, warmup - warm, warmup);
  g_autoptr(DriftSchema) schema =
      pipeline_model_spec_infer(first, options.label, NULL, (const gchar *const *)exclude, &error);
  if (!schema) fail(error);
  Loop loop = {.options = &options, .schema = schema, .stream = stream, .n = stream->n_rows};
  loop.truth = g_new(float, loop.n);
  loop.wrong = g_new0(guint8, loop.n);
  const DriftColumn *label = drift_table_get_column(stream, options.label);
  for (guint64 i = 0; i < loop.n; i++) {
    DriftValue value = drift_column_get_value(label, i);
    loop.truth[i] = (float)drift_schema_class_of(schema, &value);
  }
  g_autoptr(GBytes) base = train_base(&loop, first);
  loop.learner = pipeline_mixture_new(base, schema, &options.mixture, &error);
  if (!loop.learner || (warm > 0 && !pipeline_mixture_warm(loop.learner, warming, &error))) fail(error);
  run(&loop);
  guint64 wrong = 0;
  for (guint64 i = 0; i < loop.n; i++) wrong += loop.wrong[i];
  for (guint64 at = 0; loop.options->trace > 0 && at < loop.n; at += (guint64)loop.options->trace) {
    guint64 end = MIN(at + (guint64)loop.options->trace, loop.n), part = 0;
    for (guint64 i = at; i < end; i++) part += loop.wrong[i];
    fprintf(stderr, "rows %" G_GUINT64_FORMAT "+: accuracy %.3f\n", at, 1 - (double)part / (double)(end - at));
  }
  g_autoptr(GBytes) last = pipeline_mixture_to_onnx(loop.learner, &error);
  if (!last) fail(error);
  if (options.out) write_last(&loop, last);
  printf("{\"file\": \"%s\", \"rows\": %" G_GUINT64_FORMAT ", \"accuracy\": %.4f, \"alarms\": %u, \"takeovers\": %u, "
         "\"trainings\": %u, \"revisions\": %u, \"bytes\": %zu}\n",
         options.path, loop.n, 1 - (double)wrong / (double)loop.n, loop.alarms, loop.takeovers, loop.trainings,
         loop.revisions, g_bytes_get_size(last));
  return 0;
}
