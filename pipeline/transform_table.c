/* The table of transformations: one row each, every row tested (tests/unit/transform_test.c, tests/train/prepare.py).
 */
#include "pipeline/transform_table.h"

#include <math.h>
#include <string.h>

static const gchar *const no_numbers[] = {NULL};
static const gchar *const one_value[] = {"value", NULL};
static const gchar *const share[] = {"share", NULL};
static const gchar *const bounds[] = {"low", "high", NULL};
static const gchar *const centre_scale[] = {"centre", "scale", NULL};
static const gchar *const lambda[] = {"lambda", "low", "high", NULL};
static const gchar *const knots[] = {"knots", "places_and_heights", NULL};
static const gchar *const edges[] = {"edges", NULL};
static const gchar *const prior[] = {"prior", NULL};

#define NUMBER ONNX_TYPE_FLOAT
#define SECONDS ONNX_TYPE_DOUBLE
#define TEXT ONNX_TYPE_STRING
#define ROW(name) pipeline_fit_##name, pipeline_emit_##name

/* Row: name, summary, takes, gives, inputs, takes missing, imputes, ends, parameter, its fallback, least, most, names
 * of what is learnt, fit, emit. */
/* clang-format off */
const PipelineTransformation pipeline_transformations[] = {
  /* what is missing */
  {"keep", "the number as it is, missing ones too: for trees", NUMBER, NUMBER, 1, TRUE, FALSE, FALSE,
   NULL, NAN, 0, 0, no_numbers, ROW(keep)},
  {"mean", "a missing number becomes the mean", NUMBER, NUMBER, 1, TRUE, TRUE, FALSE,
   NULL, NAN, 0, 0, one_value, ROW(mean)},
  {"median", "a missing number becomes the median", NUMBER, NUMBER, 1, TRUE, TRUE, FALSE,
   NULL, NAN, 0, 0, one_value, ROW(median)},
  {"constant", "a missing number becomes this one", NUMBER, NUMBER, 1, TRUE, TRUE, FALSE,
   "number", 0, -1e30, 1e30, one_value, ROW(constant)},
  {"missing", "1 where the number is missing, else 0", NUMBER, NUMBER, 1, TRUE, TRUE, TRUE,
   NULL, NAN, 0, 0, share, ROW(missing)},
  /* numbers */
  {"winsorise", "bounded by two quantiles", NUMBER, NUMBER, 1, FALSE, FALSE, FALSE,
   "share beyond each bound", .01, 0, .49, bounds, ROW(winsorise)},
  {"standard", "mean 0, standard deviation 1", NUMBER, NUMBER, 1, FALSE, FALSE, FALSE,
   NULL, NAN, 0, 0, centre_scale, ROW(standard)},
  {"robust", "median 0, interquartile range 1", NUMBER, NUMBER, 1, FALSE, FALSE, FALSE,
   NULL, NAN, 0, 0, centre_scale, ROW(robust)},
  {"log", "sign(x) ln(1 + |x|)", NUMBER, NUMBER, 1, FALSE, FALSE, FALSE, NULL, NAN, 0, 0, no_numbers, ROW(log)},
  {"yeo-johnson", "the power that makes it most normal", NUMBER, NUMBER, 1, FALSE, FALSE, FALSE,
   NULL, NAN, 0, 0, lambda, ROW(yeo_johnson)},
  {"quantile", "its rank, linear between knots; mean 0, standard deviation 1", NUMBER, NUMBER, 1, FALSE, FALSE, FALSE,
   "knots", 33, 2, 1024, knots, ROW(quantile)},
  {"bins", "one-hot of bins of equal counts", NUMBER, NUMBER, 1, TRUE, TRUE, TRUE,
   "bins", 8, 2, 256, edges, ROW(bins)},
  {"calendar", "hour of the day and time of the year as waves, weekday one-hot, of seconds since 1970", SECONDS, NUMBER,
   1, TRUE, TRUE, TRUE, NULL, NAN, 0, 0, no_numbers, ROW(calendar)},
  /* texts */
  {"unseen", "texts of fewer rows, and unseen ones, become one category", TEXT, TEXT, 1, FALSE, FALSE, FALSE,
   "rows", 10, 1, 1e9, no_numbers, ROW(unseen)},
  {"one-hot", "a column a category, at most 256; unseen: zeros", TEXT, NUMBER, 1, FALSE, TRUE, TRUE,
   NULL, NAN, 0, 0, no_numbers, ROW(one_hot)},
  {"frequency", "the share of rows with this text; unseen: 0", TEXT, NUMBER, 1, FALSE, TRUE, FALSE,
   NULL, NAN, 0, 0, no_numbers, ROW(frequency)},
  {"target", "the mean label of its rows, smoothed; trained on out-of-fold means; unseen: the mean of all", TEXT, NUMBER,
   1, FALSE, TRUE, FALSE, "rows of the mean of all that are added", 20, 0, 1e6, prior, ROW(target)},
  /* pairs of columns, in front of a chain "A*B" */
  {"product", "both numbers multiplied", NUMBER, NUMBER, 2, TRUE, FALSE, FALSE, NULL, NAN, 0, 0, no_numbers, ROW(product)},
  {"cross", "both texts as one", TEXT, TEXT, 2, FALSE, FALSE, FALSE, NULL, NAN, 0, 0, no_numbers, ROW(cross)},
  {.name = NULL},
};
/* clang-format on */

const PipelineTransformation *pipeline_transformation_find(const gchar *name, GError **error)
{
  g_autoptr(GString) known = g_string_new("");
  for (const PipelineTransformation *row = pipeline_transformations; row->name; row++) {
    if (row->n_inputs != 1) continue;
    if (strcmp(row->name, name) == 0) return row;
    g_string_append_printf(known, "%s, ", row->name);
  }
  g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_INVALID, "there is no transformation \"%s\"; there are: %sdrop",
              name, known->str);
  return NULL;
}

const PipelineTransformation *pipeline_transformation_pair(OnnxType type)
{
  for (const PipelineTransformation *row = pipeline_transformations; row->name; row++)
    if (row->n_inputs == 2 && row->takes == type) return row;
  return NULL;
}
