/* Online adaptation: what is learnt, from what, and that it goes to ONNX and back. */
#include <check.h>
#include <math.h>
#include <string.h>

#include "onnx/graph.h"
#include "pipeline/mixture.h"
#include "pipeline/model.h"
#include "pipeline/network_build.h"
#include "pipeline/trainer.h"
#include "pipeline/trainer_random.h"

#define WARMUP 800

/* Rows of two numbers and a text; the class follows the side of a line, or (`turned`) the other side. With n_classes 3
 * the class is a third of the first number's range, or the next one. */
typedef struct {
  DriftTable *table;
  DriftSchema *schema;
} Stream;

static DriftSchema *new_schema(guint n_classes)
{
  DriftSchema *schema = drift_schema_new(n_classes == 2 ? DRIFT_TASK_BINARY : DRIFT_TASK_MULTICLASS, "y");
  for (guint c = 0; c < n_classes; c++) drift_schema_add_class(schema, (const gchar *[]){"no", "yes", "maybe"}[c]);
  if (n_classes == 2) schema->positive_class = 1;
  drift_schema_add_feature(schema, "a", DRIFT_NUMERIC, FALSE, TRUE);
  drift_schema_add_feature(schema, "b", DRIFT_NUMERIC, FALSE, TRUE);
  drift_schema_add_feature(schema, "colour", DRIFT_CATEGORICAL, FALSE, TRUE);
  return schema;
}

/* Worlds change at the rows `changes` (ending with 0). flipped: the labels of ten rows from there are others; -1: none.
 */
static Stream new_stream(guint n_classes, guint n, const guint *changes, gint flipped)
{
  Stream stream = {drift_table_new(), new_schema(n_classes)};
  DriftColumn *a = drift_table_add_column(stream.table, "a", DRIFT_NUMERIC),
              *b = drift_table_add_column(stream.table, "b", DRIFT_NUMERIC),
              *colour = drift_table_add_column(stream.table, "colour", DRIFT_CATEGORICAL),
              *y = drift_table_add_column(stream.table, "y", DRIFT_CATEGORICAL);
  PipelineRandom random;
  pipeline_random_seed(&random, 5);
  for (guint i = 0; i < n; i++) {
    double first = pipeline_random_uniform(&random), second = pipeline_random_uniform(&random);
    guint world = 0, class = n_classes == 2 ? first + second / 2 > .75 : MIN((guint)(3 * first), 2);
    while (changes[world] > 0 && i >= changes[world]) world++;
    class = (class + world % 2 + (flipped >= 0 && (gint)i >= flipped && (gint)i < flipped + 10)) % n_classes;
    drift_column_append_number(a, first);
    drift_column_append_number(b, second);
    drift_column_append_text(colour, second > .5 ? "red" : "blue", -1);
    drift_column_append_text(y, g_ptr_array_index(stream.schema->classes, class), -1);
  }
  stream.table->n_rows = n;
  return stream;
}

static void stream_clear(Stream *stream)
{
  drift_table_free(stream->table);
  drift_schema_free(stream->schema);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Stream, stream_clear)

static DriftTable *part(const DriftTable *table, guint first, guint next)
{
  g_autofree guint64 *rows = g_new(guint64, next - first + 1);
  for (guint i = first; i < next; i++) rows[i - first] = i;
  return drift_table_select(table, rows, next - first);
}

static GBytes *train_base(const Stream *stream)
{
  PipelineTrainOptions options;
  PipelineTrainResult result = {0};
  GError *error = NULL;
  g_autoptr(DriftTable) rows = part(stream->table, 0, WARMUP);
  pipeline_train_options_init(&options);
  options.architecture = "mlp:16,16";
  ck_assert_msg(pipeline_train(rows, stream->schema, &options, NULL, NULL, &result, &error), "%s",
                error ? error->message : "");
  GBytes *onnx = g_bytes_ref(result.onnx);
  pipeline_train_result_clear(&result);
  return onnx;
}

/* Knows the base's rows; the next labelled row is WARMUP. */
static PipelineMixture *new_mixture(const Stream *stream, GBytes *base)
{
  PipelineMixtureOptions options;
  GError *error = NULL;
  g_autoptr(DriftTable) rows = part(stream->table, 0, WARMUP);
  pipeline_mixture_options_init(&options);
  options.architecture = "mlp:16,16";
  PipelineMixture *mixture = pipeline_mixture_new(base, stream->schema, &options, &error);
  ck_assert_msg(mixture && pipeline_mixture_warm(mixture, rows, &error), "%s", error ? error->message : "");
  pipeline_mixture_begin_at(mixture, WARMUP);
  return mixture;
}

static PipelineMixtureStep learn(PipelineMixture *mixture, const Stream *stream, guint next)
{
  PipelineMixtureStep step = {0};
  GError *error = NULL;
  ck_assert_msg(pipeline_mixture_learn(mixture, stream->table, 0, next, &step, &error), "%s",
                error ? error->message : "");
  return step;
}

static guint count_wrong(const PipelineMixtureStep *step, guint first, guint next)
{
  guint wrong = 0;
  for (guint i = first; i < next; i++) wrong += step->errors->data[i] == 1;
  return wrong;
}

static GBytes *export(PipelineMixture *mixture)
{
  GError *error = NULL;
  GBytes *onnx = pipeline_mixture_to_onnx(mixture, &error);
  ck_assert_msg(onnx != NULL, "%s", error ? error->message : "");
  return onnx;
}

static PipelineMixture *restore(GBytes *onnx, const Stream *stream)
{
  GError *error = NULL;
  PipelineMixture *mixture = pipeline_mixture_from_onnx(onnx, stream->schema, &error);
  ck_assert_msg(mixture != NULL, "%s", error ? error->message : "");
  return mixture;
}

/* --- what is learnt ----------------------------------------------------------------------------------------------- */

/* _i: 2 or 3 classes. */
START_TEST(a_turned_world_is_learnt_and_the_old_one_comes_back)
{
  g_auto(Stream) stream = new_stream((guint)_i, 4400, (const guint[]){1800, 3000, 0}, -1);
  g_autoptr(GBytes) base = train_base(&stream);
  g_autoptr(PipelineMixture) mixture = new_mixture(&stream, base);
  g_auto(PipelineMixtureStep) before = learn(mixture, &stream, 1800);
  ck_assert_uint_eq(before.n_rows, 1000);
  ck_assert_uint_eq(before.alarms + before.takeovers + before.trainings, 0);
  ck_assert_uint_le(count_wrong(&before, 0, 1000), 60);
  g_auto(PipelineMixtureStep) turned = learn(mixture, &stream, 3000);
  ck_assert_uint_eq(turned.alarms, 1);
  ck_assert_int_ge(turned.change_row, 1790);
  ck_assert_int_le(turned.change_row, 1810);
  ck_assert_uint_ge(turned.trainings, 1);
  ck_assert_uint_le(count_wrong(&turned, 300, 1200), 900 / 10);
  g_auto(PipelineMixtureStep) back = learn(mixture, &stream, 4400);
  ck_assert_uint_eq(back.trainings, 0); /* the base takes over: nothing is trained for a world that is known */
  ck_assert_uint_le(count_wrong(&back, 60, 1400), 1340 * 6 / 100);
}
END_TEST

START_TEST(nothing_depends_on_labels_that_came_later)
{
  const guint changes[] = {1500, 0}, flipped = 1530; /* the reset ridge knows few rows: what it is told shows */
  g_auto(Stream) one = new_stream(2, 2400, changes, -1), other = new_stream(2, 2400, changes, (gint)flipped);
  g_autoptr(GBytes) base = train_base(&one);
  g_autoptr(PipelineMixture) a = new_mixture(&one, base), b = new_mixture(&other, base);
  g_auto(PipelineMixtureStep) early_a = learn(a, &one, flipped), early_b = learn(b, &other, flipped);
  g_autoptr(GBytes) before_a = export(a), before_b = export(b);
  ck_assert(g_bytes_equal(before_a, before_b));
  g_auto(PipelineMixtureStep) late_a = learn(a, &one, 2400), late_b = learn(b, &other, 2400);
  for (guint i = 0; i < 10; i++) /* the answers were there before the labels: what was right is wrong now */
    ck_assert_int_eq(late_a.errors->data[i], 1 - late_b.errors->data[i]);
  g_autoptr(GBytes) after_a = export(a), after_b = export(b);
  ck_assert(!g_bytes_equal(after_a, after_b)); /* and the label did count */
  ck_assert_mem_eq(early_a.errors->data, early_b.errors->data, early_a.errors->len);
}
END_TEST

START_TEST(calls_and_stops_leave_no_trace)
{
  g_auto(Stream) stream = new_stream(2, 2600, (const guint[]){1500, 0}, -1);
  g_autoptr(GBytes) base = train_base(&stream);
  g_autoptr(PipelineMixture) whole = new_mixture(&stream, base), parts = new_mixture(&stream, base);
  g_auto(PipelineMixtureStep) at_once = learn(whole, &stream, 2600);
  ck_assert_uint_gt(at_once.trainings, 0); /* so that a trained version is among what is written */
  guint row = WARMUP;
  for (guint size = 10; pipeline_mixture_get_rows(parts) < 2600; size = size % 170 + 37) {
    row = MIN(row + size, 2600);
    g_auto(PipelineMixtureStep) step = learn(parts, &stream, row);
    ck_assert_uint_le(step.n_rows, 207);
    g_autoptr(GBytes) onnx = export(parts);
    pipeline_mixture_free(g_steal_pointer(&parts));
    parts = restore(onnx, &stream);
    g_autoptr(GBytes) again = export(parts);
    ck_assert(g_bytes_equal(onnx, again));
  }
  g_autoptr(GBytes) a = export(whole), b = export(parts);
  ck_assert(g_bytes_equal(a, b));
}
END_TEST

/* Looking back needs no more than what get_first_row says. */
START_TEST(only_the_rows_it_asks_for_are_needed)
{
  g_auto(Stream) stream = new_stream(2, 3000, (const guint[]){1500, 0}, -1);
  g_autoptr(GBytes) base = train_base(&stream);
  g_autoptr(PipelineMixture) whole = new_mixture(&stream, base), windowed = new_mixture(&stream, base);
  g_auto(PipelineMixtureStep) at_once = learn(whole, &stream, 3000);
  ck_assert_uint_gt(at_once.trainings, 0);
  for (guint next = WARMUP + 100; next <= 3000; next += 100) {
    GError *error = NULL;
    gint64 first = pipeline_mixture_get_first_row(windowed);
    g_autoptr(DriftTable) rows = part(stream.table, (guint)first, next);
    g_auto(PipelineMixtureStep) step = {0};
    ck_assert_msg(pipeline_mixture_learn(windowed, rows, first, next, &step, &error), "%s",
                  error ? error->message : "");
  }
  g_autoptr(GBytes) a = export(whole), b = export(windowed);
  ck_assert(g_bytes_equal(a, b));
}
END_TEST

START_TEST(rows_without_a_label_teach_nothing)
{
  g_auto(Stream) stream = new_stream(2, 1200, (const guint[]){0}, -1);
  g_autoptr(GBytes) base = train_base(&stream);
  g_autoptr(PipelineMixture) mixture = new_mixture(&stream, base);
  g_auto(PipelineMixtureStep) first = learn(mixture, &stream, 1000);
  ck_assert_uint_eq(first.n_rows, 200);
  DriftColumn *label = drift_table_get_column(stream.table, "y");
  g_autoptr(DriftTable) rows = part(stream.table, 0, 1000);
  DriftColumn *cut = drift_table_get_column(rows, "y");
  const gchar *const columns[] = {"a", "b", "colour"};
  for (guint i = 1000; i < 1200; i++) {
    for (guint c = 0; c < 3; c++) {
      DriftValue value = drift_column_get_value(drift_table_get_column(stream.table, columns[c]), i);
      DriftColumn *into = drift_table_get_column(rows, columns[c]);
      if (c < 2)
        drift_column_append_number(into, value.number);
      else
        drift_column_append_text(into, value.text, (gssize)value.length);
    }
    DriftValue value = drift_column_get_value(label, i);
    if (i % 10 == 3)
      drift_column_append_missing(cut);
    else
      drift_column_append_text(cut, value.text, (gssize)value.length);
    rows->n_rows++;
  }
  GError *error = NULL;
  g_auto(PipelineMixtureStep) step = {0};
  ck_assert_msg(pipeline_mixture_learn(mixture, rows, 0, 1200, &step, &error), "%s", error ? error->message : "");
  ck_assert_uint_eq(step.n_rows, 200);
  ck_assert_uint_eq(step.n_unusable, 20);
  ck_assert_uint_eq(step.errors->data[3], 2);
}
END_TEST

/* --- the graph ---------------------------------------------------------------------------------------------------- */

/* _i: 2 or 3 classes. The graph, with a trained version in it, says what the mixture says. */
START_TEST(the_graph_predicts_as_the_mixture)
{
  g_auto(Stream) stream = new_stream((guint)_i, 2600, (const guint[]){1500, 0}, -1);
  g_autoptr(GBytes) base = train_base(&stream);
  g_autoptr(PipelineMixture) mixture = new_mixture(&stream, base);
  g_auto(PipelineMixtureStep) step = learn(mixture, &stream, 2600);
  ck_assert_uint_gt(step.trainings, 0);
  g_autoptr(GBytes) onnx = export(mixture);
  GError *error = NULL;
  ck_assert(pipeline_mixture_is_revision(onnx) && !pipeline_mixture_is_revision(base));
  g_autoptr(PipelineModel) model = pipeline_model_load(onnx, stream.schema, NULL, &error);
  ck_assert_msg(model != NULL, "%s", error ? error->message : "");
  gsize n = stream.table->n_rows * (gsize)_i;
  g_autofree double *ours = g_new(double, n);
  g_autofree float *theirs = g_new(float, n);
  ck_assert(pipeline_mixture_predict(mixture, stream.table, ours, &error));
  ck_assert(pipeline_model_predict_table(model, stream.table, theirs, &error));
  double apart = 0;
  for (gsize i = 0; i < n; i++) apart = fmax(apart, fabs(ours[i] - (double)theirs[i]));
  ck_assert_double_lt(apart, 2e-5);
}
END_TEST

/* A base whose input has another name, as of an importer: it learns, and gives up training after the first try. */
START_TEST(a_base_that_is_fed_otherwise_learns_without_trainings)
{
  g_auto(Stream) stream = new_stream(2, 2600, (const guint[]){1500, 0}, -1);
  g_autoptr(GBytes) base = train_base(&stream), foreign = NULL;
  g_autoptr(OnnxGraph) graph = onnx_graph_from_bytes(base, NULL);
  ck_assert(onnx_graph_rename_value(graph, "a", "A.a", NULL));
  foreign = onnx_graph_to_bytes(graph, NULL);
  g_autoptr(PipelineMixture) mixture = new_mixture(&stream, foreign);
  g_auto(PipelineMixtureStep) step = learn(mixture, &stream, 2600);
  ck_assert_uint_eq(step.alarms, 1);
  ck_assert_uint_eq(step.trainings, 1);
  ck_assert_uint_le(count_wrong(&step, 1000, 1800), 160);
  g_autoptr(GBytes) onnx = export(mixture);
  g_autoptr(PipelineMixture) again = restore(onnx, &stream);
  ck_assert_int_eq(pipeline_mixture_get_rows(again), 2600);
}
END_TEST

/* --- what is refused ---------------------------------------------------------------------------------------------- */

static void refused_text(GError *error, const gchar *text)
{
  ck_assert_msg(error != NULL && strstr(error->message, text) != NULL, "%s", error ? error->message : "no error");
  g_error_free(error);
}

START_TEST(what_cannot_be_a_mixture_is_refused)
{
  g_auto(Stream) stream = new_stream(2, 1000, (const guint[]){0}, -1);
  g_autoptr(GBytes) base = train_base(&stream);
  PipelineMixtureOptions options;
  GError *error = NULL;
  pipeline_mixture_options_init(&options);
  g_autoptr(DriftSchema) regression = drift_schema_new(DRIFT_TASK_REGRESSION, "y");
  ck_assert_ptr_null(pipeline_mixture_new(base, regression, &options, &error));
  refused_text(g_steal_pointer(&error), "regression");
  ck_assert_ptr_null(pipeline_mixture_from_onnx(base, stream.schema, &error));
  refused_text(g_steal_pointer(&error), "no state of a mixture");
  options.experts = 3;
  ck_assert_ptr_null(pipeline_mixture_new(base, stream.schema, &options, &error));
  refused_text(g_steal_pointer(&error), "out of range");
  g_autoptr(PipelineMixture) mixture = new_mixture(&stream, base);
  PipelineMixtureStep step = {0};
  g_autoptr(DriftTable) late = part(stream.table, 900, 1000);
  ck_assert(!pipeline_mixture_learn(mixture, late, 900, 1000, &step, &error));
  refused_text(g_steal_pointer(&error), "learns from row 800");
  ck_assert_int_eq(pipeline_mixture_get_rows(mixture), WARMUP);
  g_auto(PipelineMixtureStep) nothing = learn(mixture, &stream, WARMUP + 9); /* less than a block waits */
  ck_assert_uint_eq(nothing.n_rows, 0);
}
END_TEST

/* Every damaged state is refused or harmless, never a crash. */
START_TEST(damaged_states_are_refused)
{
  g_auto(Stream) stream = new_stream(2, 1000, (const guint[]){0}, -1);
  g_autoptr(GBytes) base = train_base(&stream);
  g_autoptr(PipelineMixture) mixture = new_mixture(&stream, base);
  g_auto(PipelineMixtureStep) step = learn(mixture, &stream, 1000);
  ck_assert_uint_eq(step.n_rows, 200);
  g_autoptr(GBytes) onnx = export(mixture);
  g_autoptr(OnnxGraph) graph = onnx_graph_from_bytes(onnx, NULL);
  const gchar *state = onnx_graph_get_metadata(graph, PIPELINE_MIXTURE_KEY);
  static const struct {
    const gchar *from, *to;
  } damages[] = {{"kedge mixture 1", "kedge mixture 9"},
                 {"\"rows\":1000", "\"rows\":-1"},
                 {"\"rows\":1000", "\"rows\":7"},
                 {"\"block\":10", "\"block\":0"},
                 {"\"block\":10", "\"block\":1e3"},
                 {"\"size\":17", "\"size\":16"},
                 {"\"size\":17", "\"size\":99999999"},
                 {"\"classes\":2", "\"classes\":3"},
                 {"\"kind\":\"reset\"", "\"kind\":\"steady\""},
                 {"\"name\":\"base\"", "\"name\":\"bass\""},
                 {"\"name\":\"base\"", "\"name\":\"a/b\""},
                 {"\"weight\":", "\"weight\":-"},
                 {"\"errors\":\"", "\"errors\":\"7"},
                 {"\"experts\":[", "\"experts\":[7,"},
                 {"\"gram\":\"", "\"gram\":\"AAAA"},
                 {"{", "["}};
  for (guint i = 0; i < G_N_ELEMENTS(damages); i++) {
    g_autoptr(OnnxGraph) damaged = onnx_graph_copy(graph);
    const gchar *place = strstr(state, damages[i].from);
    ck_assert_msg(place != NULL, "%s", damages[i].from);
    g_autofree gchar *text =
        g_strdup_printf("%.*s%s%s", (int)(place - state), state, damages[i].to, place + strlen(damages[i].from));
    onnx_graph_set_metadata(damaged, PIPELINE_MIXTURE_KEY, text);
    g_autoptr(GBytes) bytes = onnx_graph_to_bytes(damaged, NULL);
    GError *error = NULL;
    PipelineMixture *read = pipeline_mixture_from_onnx(bytes, stream.schema, &error);
    ck_assert_msg(read == NULL && error != NULL, "\"%s\" was read", damages[i].to);
    g_error_free(error);
  }
}
END_TEST

int main(void)
{
  Suite *suite = suite_create("mixture");
  TCase *cases = tcase_create("mixture");
  tcase_set_timeout(cases, 180);
  tcase_add_loop_test(cases, a_turned_world_is_learnt_and_the_old_one_comes_back, 2, 4);
  tcase_add_test(cases, nothing_depends_on_labels_that_came_later);
  tcase_add_test(cases, calls_and_stops_leave_no_trace);
  tcase_add_test(cases, only_the_rows_it_asks_for_are_needed);
  tcase_add_test(cases, rows_without_a_label_teach_nothing);
  tcase_add_loop_test(cases, the_graph_predicts_as_the_mixture, 2, 4);
  tcase_add_test(cases, a_base_that_is_fed_otherwise_learns_without_trainings);
  tcase_add_test(cases, what_cannot_be_a_mixture_is_refused);
  tcase_add_test(cases, damaged_states_are_refused);
  suite_add_tcase(suite, cases);
  SRunner *runner = srunner_create(suite);
  srunner_run_all(runner, CK_ENV);
  int failed = srunner_ntests_failed(runner);
  srunner_free(runner);
  return failed > 0;
}
