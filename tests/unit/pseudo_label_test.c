/* Self-training: what is labelled, how sure one must be, and that it helps where it should. */
#include <check.h>
#include <math.h>
#include <string.h>

#include "pipeline/evaluate.h"
#include "pipeline/graph_optimiser.h"
#include "pipeline/model_spec.h"
#include "pipeline/pseudo_label.h"
#include "pipeline/trainer_random.h"

#define COLUMNS 40

/* Two Gaussian clusters of unit width, 4 apart, in 40 dimensions; `positive` of the rows are of class "yes". label:
 * 'y' the class, 'n' no label column, 'w' a column of wrong labels. */
static DriftTable *clusters(guint n, double positive, gchar label, guint64 seed)
{
  PipelineRandom random;
  DriftTable *table = drift_table_new();
  pipeline_random_seed(&random, seed);
  for (guint c = 0; c < COLUMNS; c++) {
    g_autofree gchar *name = g_strdup_printf("x%u", c);
    drift_table_add_column(table, name, DRIFT_NUMERIC);
  }
  DriftColumn *y = label == 'n' ? NULL : drift_table_add_column(table, "y", DRIFT_CATEGORICAL);
  for (guint i = 0; i < n; i++) {
    gboolean yes = pipeline_random_uniform(&random) < positive;
    for (guint c = 0; c < COLUMNS; c++)
      drift_column_append_number(g_ptr_array_index(table->columns, c),
                                 (yes ? 2 : -2) / sqrt(COLUMNS) + pipeline_random_normal(&random));
    if (y) drift_column_append_text(y, yes == (label == 'y') ? "yes" : "no", -1);
  }
  table->n_rows = n;
  return table;
}

typedef struct {
  DriftTable *table;
  DriftSchema *schema;
  PipelineTrainOptions options;
  PipelinePseudoOptions pseudo;
} Case;

/* 120 labelled rows, of which the last 54 validate. */
static Case new_case(guint64 seed)
{
  Case c = {.table = clusters(120, .5, 'y', seed)};
  c.schema = pipeline_model_spec_infer(c.table, "y", NULL, NULL, NULL);
  pipeline_train_options_init(&c.options);
  pipeline_pseudo_options_init(&c.pseudo);
  c.options.validation_fraction = .45;
  return c;
}

static void case_clear(Case *c)
{
  drift_table_free(c->table);
  drift_schema_free(c->schema);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Case, case_clear)

static PipelinePseudoLabels train(const Case *c, const DriftTable *unlabelled, GBytes **onnx)
{
  GError *error = NULL;
  PipelineTrainResult result = {0};
  PipelinePseudoLabels labels = {0};
  ck_assert_msg(pipeline_train_pseudo(c->table, unlabelled, c->schema, &c->options, &c->pseudo, NULL, NULL, &result,
                                      &labels, &error),
                "%s", error ? error->message : "");
  ck_assert_uint_eq(result.n_validation, 54); /* never pseudo-labelled ones */
  ck_assert_uint_eq(result.n_train, 66 + labels.n_taken);
  *onnx = g_bytes_ref(result.onnx);
  pipeline_train_result_clear(&result);
  return labels;
}

static GBytes *train_plainly(const Case *c)
{
  GError *error = NULL;
  PipelineTrainResult result = {0};
  ck_assert(pipeline_train(c->table, c->schema, &c->options, NULL, NULL, &result, &error));
  GBytes *onnx = g_bytes_ref(result.onnx);
  pipeline_train_result_clear(&result);
  return onnx;
}

static double accuracy(GBytes *onnx, const Case *c, const DriftTable *test)
{
  PipelineEvaluation evaluation = {0};
  g_autoptr(PipelineModel) model = pipeline_model_load(onnx, c->schema, NULL, NULL);
  ck_assert(pipeline_evaluate(model, test, &evaluation, NULL));
  double reached = evaluation.accuracy;
  pipeline_evaluation_clear(&evaluation);
  return reached;
}

START_TEST(clusters_are_learnt_better_with_unlabelled_rows)
{
  double gain = 0;
  g_autoptr(DriftTable) unlabelled = clusters(3000, .5, 'n', 100), test = clusters(4000, .5, 'y', 200);
  for (guint64 seed = 1; seed <= 3; seed++) {
    g_auto(Case) c = new_case(seed);
    g_autoptr(GBytes) plain = train_plainly(&c), self = NULL;
    c.pseudo.rounds = 2;
    PipelinePseudoLabels labels = train(&c, unlabelled, &self);
    ck_assert_uint_eq(labels.rounds, 2);
    ck_assert_uint_eq(labels.n_unlabelled, 3000);
    ck_assert_uint_eq(labels.n_calibration, 54);
    ck_assert_uint_eq(labels.taken[0] + labels.taken[1], labels.n_taken);
    ck_assert_uint_gt(labels.n_taken, 1000);
    pipeline_pseudo_labels_clear(&labels);
    gain += (accuracy(self, &c, test) - accuracy(plain, &c, test)) / 3;
  }
  ck_assert_double_ge(gain, .01);
}
END_TEST

START_TEST(rows_that_nobody_is_sure_of_add_nothing)
{
  g_auto(Case) c = new_case(1);
  g_autoptr(DriftTable) unlabelled = clusters(500, .5, 'n', 100);
  g_autoptr(GBytes) plain = train_plainly(&c), self = NULL;
  c.pseudo.confidence = 1 - 1e-15;
  PipelinePseudoLabels labels = train(&c, unlabelled, &self);
  ck_assert_uint_eq(labels.n_taken + labels.n_confident + labels.rounds, 0);
  ck_assert(g_bytes_equal(plain, self));
  pipeline_pseudo_labels_clear(&labels);
}
END_TEST

START_TEST(the_surer_one_must_be_the_fewer_rows_are_taken)
{
  g_auto(Case) c = new_case(2);
  g_autoptr(DriftTable) unlabelled = clusters(2000, .5, 'n', 100);
  g_autoptr(GBytes) self = NULL;
  guint64 before = G_MAXUINT64;
  static const double confidences[] = {.6, .9, .99};
  for (guint i = 0; i < G_N_ELEMENTS(confidences); i++) {
    c.pseudo.confidence = confidences[i];
    g_clear_pointer(&self, g_bytes_unref);
    PipelinePseudoLabels labels = train(&c, unlabelled, &self);
    ck_assert_uint_lt(labels.n_taken, before);
    before = labels.n_taken;
    pipeline_pseudo_labels_clear(&labels);
  }
}
END_TEST

/* Traffic of one class mostly: what is taken keeps the balance of the labelled rows. */
START_TEST(no_class_takes_more_than_its_share)
{
  g_auto(Case) c = new_case(3);
  g_autoptr(DriftTable) unlabelled = clusters(2000, .95, 'n', 100);
  g_autoptr(GBytes) self = NULL;
  c.pseudo.balance = 1;
  PipelinePseudoLabels labels = train(&c, unlabelled, &self);
  ck_assert_uint_gt(labels.n_confident, 1000);
  ck_assert_uint_le(labels.taken[1], labels.n_confident * 65 / 100);
  ck_assert_uint_lt(labels.n_taken, labels.n_confident);
  pipeline_pseudo_labels_clear(&labels);
}
END_TEST

START_TEST(labels_of_the_unlabelled_rows_are_not_looked_at)
{
  g_auto(Case) c = new_case(1);
  g_autoptr(DriftTable) without = clusters(500, .5, 'n', 100), wrong = clusters(500, .5, 'w', 100);
  g_autoptr(GBytes) a = NULL, b = NULL;
  PipelinePseudoLabels first = train(&c, without, &a), second = train(&c, wrong, &b);
  ck_assert_uint_gt(first.n_taken, 0);
  ck_assert(g_bytes_equal(a, b));
  pipeline_pseudo_labels_clear(&first);
  pipeline_pseudo_labels_clear(&second);
}
END_TEST

static void low(Case *c)
{
  c->pseudo.confidence = .5;
}
static void certain(Case *c)
{
  c->pseudo.confidence = 1;
}
static void weightless(Case *c)
{
  c->pseudo.weight = 0;
}
static void unfair(Case *c)
{
  c->pseudo.balance = .5;
}
static void roundless(Case *c)
{
  c->pseudo.rounds = 0;
}
static void shuffled(Case *c)
{
  c->options.shuffle_split = TRUE;
}
static void unvalidated(Case *c)
{
  c->options.validation_fraction = .1;
}
static const struct {
  void (*spoil)(Case *c);
  const gchar *text;
} refused[] = {{low, "above 1 / classes"},
               {certain, "below 1"},
               {weightless, "weight"},
               {unfair, "balance"},
               {roundless, "rounds"},
               {shuffled, "the last labelled rows"},
               {unvalidated, "no validation rows"}};

START_TEST(wrong_options_are_refused)
{
  g_auto(Case) c = new_case(1);
  g_autoptr(DriftTable) unlabelled = clusters(50, .5, 'n', 100);
  PipelineTrainResult result = {0};
  PipelinePseudoLabels labels = {0};
  GError *error = NULL;
  refused[_i].spoil(&c);
  ck_assert(!pipeline_train_pseudo(c.table, unlabelled, c.schema, &c.options, &c.pseudo, NULL, NULL, &result, &labels,
                                   &error));
  ck_assert_msg(strstr(error->message, refused[_i].text) != NULL, "%s", error->message);
  ck_assert_ptr_null(result.onnx);
  g_error_free(error);
}
END_TEST

int main(void)
{
  Suite *suite = suite_create("pseudo_label");
  TCase *cases = tcase_create("pseudo_label");
  tcase_set_timeout(cases, 120);
  tcase_add_test(cases, clusters_are_learnt_better_with_unlabelled_rows);
  tcase_add_test(cases, rows_that_nobody_is_sure_of_add_nothing);
  tcase_add_test(cases, the_surer_one_must_be_the_fewer_rows_are_taken);
  tcase_add_test(cases, no_class_takes_more_than_its_share);
  tcase_add_test(cases, labels_of_the_unlabelled_rows_are_not_looked_at);
  tcase_add_loop_test(cases, wrong_options_are_refused, 0, G_N_ELEMENTS(refused));
  suite_add_tcase(suite, cases);
  SRunner *runner = srunner_create(suite);
  srunner_run_all(runner, CK_ENV);
  int failed = srunner_ntests_failed(runner);
  srunner_free(runner);
  return failed > 0;
}
