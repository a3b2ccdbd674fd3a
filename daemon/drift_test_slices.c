/* Slices and dependences in the report of `kedge drift test`. */
#include <math.h>
#include <string.h>

#include "daemon/drift_test_internal.h"
#include "daemon/leader_internal.h"
#include "drift/slices.h"
#include "pipeline/error.h"

/* Dependences raise drift at this part of the level, beside the columns. */
#define SHARE_OF_LEVEL .25

/* --- losses ------------------------------------------------------------------------------------------------------- */

typedef struct {
  const gchar *name;                                                  /* "error", … */
  double (*of)(const DriftValue *label, const DriftValue *predicted); /* NaN: unknown */
} Loss;

static double error_of(const DriftValue *label, const DriftValue *predicted)
{
  gchar buffers[2][DRIFT_NUMBER_TEXT_SIZE];
  gsize lengths[2];
  const gchar *a = drift_value_to_text(label, buffers[0], &lengths[0]);
  const gchar *b = drift_value_to_text(predicted, buffers[1], &lengths[1]);
  if (a == NULL) return NAN;
  return b == NULL || lengths[0] != lengths[1] || memcmp(a, b, lengths[0]) != 0; /* no prediction is a wrong one */
}

static double squared_error_of(const DriftValue *label, const DriftValue *predicted)
{
  double truth, value;
  if (!drift_value_to_number(label, &truth) || !drift_value_to_number(predicted, &value)) return NAN;
  double difference = value - truth;
  return isfinite(difference) ? difference * difference : NAN;
}

static const Loss loss_error = {"error", error_of}, loss_squared = {"squared error", squared_error_of},
                  loss_brier = {"Brier score", squared_error_of};

static const DriftColumn *find(const DriftTestRequest *request, gboolean current, const gchar *name,
                               const gchar *option, GError **error)
{
  const DriftColumn *column = drift_table_get_column(current ? request->current : request->reference, name);
  if (column == NULL)
    g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_DATA, "%s:1: no column \"%s\" (named by %s)",
                current ? request->current_name : request->reference_name, name, option);
  return column;
}

/* Labels of a score must be 0 and 1: which class the score is of is nothing to be guessed. */
static gboolean check_probabilities(const DriftColumn *label, const DriftColumn *score, const gchar *file,
                                    guint64 n_rows, GError **error)
{
  for (guint64 row = 0; row < n_rows; row++) {
    DriftValue truth = drift_column_get_value(label, row), value = drift_column_get_value(score, row);
    double number;
    gboolean is_label =
        truth.kind == DRIFT_VALUE_MISSING || (drift_value_to_number(&truth, &number) && (number == 0 || number == 1));
    gboolean is_score =
        value.kind == DRIFT_VALUE_MISSING || (drift_value_to_number(&value, &number) && number >= 0 && number <= 1);
    if (is_label && is_score) continue;
    g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_DATA,
                "%s:%" G_GUINT64_FORMAT
                ": column \"%s\": with --score labels are 0 and 1, and scores probabilities of 1",
                file, row + 2, (is_label ? score : label)->name);
    return FALSE;
  }
  return TRUE;
}

static gboolean is_whole(const DriftColumn *column)
{
  for (guint64 row = 0; row < column->numbers->len; row++) {
    double number = g_array_index(column->numbers, double, row);
    if (!isnan(number) && number != floor(number)) return FALSE;
  }
  return TRUE;
}

/* Numbers with fractions are a regression; whole numbers and texts are classes. */
static const Loss *choose_loss(const DriftTestRequest *request, const DriftColumn *label, const DriftColumn *predicted)
{
  if (request->score != NULL) return &loss_brier;
  gboolean numeric = label->kind == DRIFT_NUMERIC && predicted->kind == DRIFT_NUMERIC;
  return numeric && !(is_whole(label) && is_whole(predicted)) ? &loss_squared : &loss_error;
}

/* Both sides' losses; without --label nothing is set. */
static gboolean make_losses(const DriftTestRequest *request, const Loss **loss, double **reference, double **current,
                            GError **error)
{
  double **const sides[] = {reference, current};
  const gchar *predicted_name = request->score != NULL ? request->score : request->prediction;
  *loss = NULL;
  if (request->label == NULL) return TRUE;
  for (guint side = 0; side < 2; side++) {
    const DriftTable *table = side == 0 ? request->reference : request->current;
    const DriftColumn *label = find(request, side == 1, request->label, "--label", error);
    const DriftColumn *predicted = label != NULL ? find(request, side == 1, predicted_name,
                                                        request->score != NULL ? "--score" : "--prediction", error)
                                                 : NULL;
    if (predicted == NULL) return FALSE;
    const gchar *file = side == 0 ? request->reference_name : request->current_name;
    if (request->score != NULL && !check_probabilities(label, predicted, file, table->n_rows, error)) return FALSE;
    if (*loss == NULL) *loss = choose_loss(request, label, predicted); /* the reference decides */
    *sides[side] = g_new(double, table->n_rows + 1);
    for (guint64 row = 0; row < table->n_rows; row++) {
      DriftValue truth = drift_column_get_value(label, row), value = drift_column_get_value(predicted, row);
      (*sides[side])[row] = (*loss)->of(&truth, &value);
    }
  }
  return TRUE;
}

/* --- the report --------------------------------------------------------------------------------------------------- */

static gboolean is_outcome(const DriftTestRequest *request, const gchar *name)
{
  return g_strcmp0(name, request->label) == 0 || g_strcmp0(name, request->prediction) == 0 ||
         g_strcmp0(name, request->score) == 0;
}

static json_t *slices_to_json(const DriftSlices *slices, const Loss *loss)
{
  json_t *json = json_pack("{s:f, s:s, s:I, s:I}", "level", DRIFT_SLICE_LEVEL, "adjust", "holm", "pairs",
                           (json_int_t)slices->n_pairs, "pairs_left_out", (json_int_t)slices->n_pairs_left_out);
  json_t *tests = json_object();
  for (guint kind = 0; kind < DRIFT_N_SLICE_KINDS; kind++) {
    if (kind != DRIFT_SLICE_SHARE && loss == NULL) continue;
    const gchar *name = drift_slice_kind_name((DriftSliceKind)kind);
    json_object_set_new(json, name, verdict_slices_to_json(slices->slices[kind]));
    json_object_set_new(tests, name, json_integer((json_int_t)slices->n_tests[kind]));
  }
  json_object_set_new(json, "tests", tests);
  if (loss == NULL) return json;
  json_object_set_new(json, "loss_is", json_string(loss->name));
  json_object_set_new(json, "mean_loss",
                      json_pack("{s:o, s:I, s:o, s:I}", "reference", drift_test_number(slices->mean_loss_reference),
                                "n_reference", (json_int_t)slices->losses_reference, "current",
                                drift_test_number(slices->mean_loss_current), "n_current",
                                (json_int_t)slices->losses_current));
  return json;
}

gboolean drift_test_slices(const DriftTestRequest *request, const DriftTestSettings *settings,
                           const DriftTestColumn *columns, guint n_columns, json_t *report, gboolean *drift,
                           GError **error)
{
  if (request->slices == 0) return TRUE;
  g_autofree double *reference_losses = NULL, *current_losses = NULL;
  g_autofree gboolean *outcomes = g_new0(gboolean, n_columns + 1);
  const Loss *loss;
  if (!make_losses(request, &loss, &reference_losses, &current_losses, error)) return FALSE;
  g_autoptr(DriftSchema) schema = drift_schema_new(DRIFT_TASK_REGRESSION, "");
  for (guint i = 0; i < n_columns; i++) {
    const DriftColumn *column = columns[i].reference;
    drift_schema_add_feature(schema, column->name, column->kind, FALSE, TRUE);
    outcomes[i] = is_outcome(request, column->name);
  }
  g_autoptr(DriftGrid) grid = drift_grid_new(schema, request->reference, 0, error);
  if (grid == NULL) return FALSE;
  DriftSliceSettings slice_settings;
  drift_slice_settings_init(&slice_settings);
  slice_settings.most = request->slices;
  slice_settings.joint_level = settings->level * SHARE_OF_LEVEL;
  slice_settings.minimum_effect = settings->minimum_effect;
  const DriftSliceRows rows = {request->reference, request->current, reference_losses, current_losses, outcomes};
  g_autoptr(DriftSlices) slices = drift_slices_find(grid, &rows, &slice_settings, error);
  if (slices == NULL) return FALSE;
  json_object_set_new(report, "slices", slices_to_json(slices, loss));
  json_object_set_new(report, "dependences", verdict_dependences_to_json(slices->dependences));
  json_object_set_new(report, "dependences_drifted", json_integer((json_int_t)slices->n_dependences));
  json_object_set_new(report, "joint_level", json_real(slice_settings.joint_level));
  *drift |= slices->n_dependences > 0;
  return TRUE;
}

/* --- lists that every view shows ---------------------------------------------------------------------------------- */

const DriftTestSliceList drift_test_slice_lists[] = {{"share", "Slices whose share of the rows changed most"},
                                                     {"loss", "Slices with the highest loss"},
                                                     {"loss_rise", "Slices whose loss rose most"},
                                                     {NULL, NULL}};

gchar *drift_test_slice_remark(const json_t *slices, const gchar *list)
{
  const json_t *left_out = json_object_get(slices, "pairs_left_out");
  GString *text = g_string_new(NULL);
  g_string_append_printf(
      text, "%" JSON_INTEGER_FORMAT " slices of one and of two columns tested, level %g by Holm's correction",
      json_integer_value(json_object_get(json_object_get(slices, "tests"), list)),
      json_number_value(json_object_get(slices, "level")));
  if (json_integer_value(left_out) > 0)
    g_string_append_printf(text,
                           "; %" JSON_INTEGER_FORMAT " of %" JSON_INTEGER_FORMAT
                           " pairs of columns differed least on a sample and were left out (they count as tested)",
                           json_integer_value(left_out), json_integer_value(json_object_get(slices, "pairs")));
  return g_string_free(text, FALSE);
}
