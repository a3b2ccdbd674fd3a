/* Einsum: out[free indices] = Σ over the other indices of the product of all inputs. A plain loop over every index,
 * with its cost charged; "..." stands for leading indices that are broadcast. */
#include <string.h>

#include "pipeline/operator_internal.h"

#define MAX_OPERANDS 8
#define MAX_INDICES 24 /* distinct letters and "..." dimensions */

typedef struct {
  guint n_operands, n_indices, n_ellipsis;
  gint64 size[MAX_INDICES];                          /* by index; the first n_ellipsis are those of "..." */
  gchar letter[MAX_INDICES];                         /* of the others */
  guint n_terms[MAX_OPERANDS + 1];                   /* dimensions; the last is the output */
  guint term[MAX_OPERANDS + 1][ONNX_MAX_DIMENSIONS]; /* dimension -> index */
  gboolean is_free[MAX_INDICES];                     /* occurs in the output */
} Plan;

static gboolean find_index(Plan *plan, gchar letter, guint *index, GError **error)
{
  for (*index = plan->n_ellipsis; *index < plan->n_indices; (*index)++)
    if (plan->letter[*index] == letter) return TRUE;
  if (plan->n_indices == MAX_INDICES) return pipeline_operator_fail(error, "its equation has too many indices");
  plan->letter[plan->n_indices] = letter;
  plan->size[plan->n_indices++] = 1;
  return TRUE;
}

/* One side's letters, as "ij" or "...ij"; n_dims of the operand, or G_MAXUINT for the output. */
static gboolean read_term(Plan *plan, guint operand, const gchar *text, guint n_dims, GError **error)
{
  guint letters = 0, *n = &plan->n_terms[operand];
  for (const gchar *at = text; *at != '\0'; at++) letters += g_ascii_isalpha(*at) != 0;
  guint hidden = n_dims == G_MAXUINT ? plan->n_ellipsis : n_dims - MIN(letters, n_dims);
  for (const gchar *at = text; *at != '\0'; at++) {
    guint index;
    if (strncmp(at, "...", 3) == 0) {
      if (*n + hidden > ONNX_MAX_DIMENSIONS) return pipeline_operator_fail(error, "a term has too many dimensions");
      for (guint i = 0; i < hidden; i++) plan->term[operand][(*n)++] = plan->n_ellipsis - hidden + i;
      at += 2;
      continue;
    }
    if (!g_ascii_isalpha(*at)) return pipeline_operator_fail(error, "its equation has the character '%c'", *at);
    if (*n == ONNX_MAX_DIMENSIONS) return pipeline_operator_fail(error, "a term has too many dimensions");
    if (!find_index(plan, *at, &index, error)) return FALSE;
    plan->term[operand][(*n)++] = index;
  }
  return n_dims == G_MAXUINT || *n == n_dims ||
         pipeline_operator_fail(error, "term '%s' does not have the %u dimensions of its input", text, n_dims);
}

static gboolean read_sizes(const PipelineCall *call, Plan *plan, GError **error)
{
  for (guint i = 0; i < plan->n_operands; i++)
    for (guint d = 0; d < plan->n_terms[i]; d++) {
      gint64 *size = &plan->size[plan->term[i][d]], given = call->inputs[i]->dims[d];
      if (*size != 1 && given != 1 && *size != given)
        return pipeline_operator_fail(error, "an index has the sizes %" G_GINT64_FORMAT " and %" G_GINT64_FORMAT, *size,
                                      given);
      if (given != 1) *size = given;
    }
  return TRUE;
}

/* Without "->": the "..." indices, then the letters that occur once, in alphabetical order. */
static gchar *implied_output(gchar **terms, gboolean ellipsis)
{
  GString *text = g_string_new(ellipsis ? "..." : "");
  for (gint letter = 'A'; letter <= 'z'; letter++) {
    guint count = 0;
    for (guint i = 0; terms[i] != NULL && g_ascii_isalpha(letter); i++)
      for (const gchar *at = terms[i]; *at != '\0'; at++) count += *at == letter;
    if (count == 1) g_string_append_c(text, (gchar)letter);
  }
  return g_string_free(text, FALSE);
}

static gboolean read_plan(const PipelineCall *call, Plan *plan, GError **error)
{
  g_autofree gchar *raw = onnx_node_copy_string(call->node, "equation", "");
  g_auto(GStrv) words = g_strsplit(raw, " ", -1);
  g_autofree gchar *equation = g_strjoinv("", words);
  g_auto(GStrv) sides = g_strsplit(equation, "->", 2);
  g_auto(GStrv) terms = g_strsplit(sides[0] != NULL ? sides[0] : "", ",", -1);
  memset(plan, 0, sizeof *plan);
  plan->n_operands = call->n_inputs;
  guint n_terms = equation[0] == '\0' ? 0 : MAX(g_strv_length(terms), 1);
  if (call->n_inputs > MAX_OPERANDS || n_terms != call->n_inputs)
    return pipeline_operator_fail(error, "its equation does not fit its %u inputs", call->n_inputs);
  gboolean ellipsis = FALSE;
  for (guint i = 0; i < call->n_inputs; i++) {
    guint letters = 0;
    const gchar *term = terms[i] != NULL ? terms[i] : "";
    if (call->inputs[i] == NULL) return pipeline_operator_fail(error, "input %u is left out", i);
    for (const gchar *at = term; *at != '\0'; at++) letters += g_ascii_isalpha(*at) != 0;
    if (strstr(term, "...") == NULL) continue;
    ellipsis = TRUE;
    if (call->inputs[i]->n_dims > letters) plan->n_ellipsis = MAX(plan->n_ellipsis, call->inputs[i]->n_dims - letters);
  }
  plan->n_indices = plan->n_ellipsis;
  for (guint i = 0; i < plan->n_ellipsis; i++) plan->size[i] = 1;
  for (guint i = 0; i < call->n_inputs; i++)
    if (!read_term(plan, i, terms[i] != NULL ? terms[i] : "", call->inputs[i]->n_dims, error)) return FALSE;
  guint known = plan->n_indices;
  g_autofree gchar *output =
      sides[0] != NULL && sides[1] != NULL ? g_strdup(sides[1]) : implied_output(terms, ellipsis);
  if (!read_sizes(call, plan, error) || !read_term(plan, plan->n_operands, output, G_MAXUINT, error)) return FALSE;
  if (plan->n_indices != known) return pipeline_operator_fail(error, "its output has an index that no input has");
  for (guint d = 0; d < plan->n_terms[plan->n_operands]; d++) {
    guint index = plan->term[plan->n_operands][d];
    if (plan->is_free[index]) return pipeline_operator_fail(error, "its output repeats an index");
    plan->is_free[index] = TRUE;
  }
  return TRUE;
}

gboolean pipeline_einsum_infer(PipelineCall *call, GError **error)
{
  Plan plan;
  gint64 dims[ONNX_MAX_DIMENSIONS];
  for (guint i = 0; i < call->n_inputs; i++)
    if (call->inputs[i] == NULL || !pipeline_type_is_number(call->inputs[i]->type) ||
        call->inputs[i]->type != call->inputs[0]->type)
      return pipeline_operator_fail_type(call, i, error);
  if (!read_plan(call, &plan, error)) return FALSE;
  double cost = 1;
  for (guint i = 0; i < plan.n_indices; i++) cost *= (double)plan.size[i];
  for (guint d = 0; d < plan.n_terms[plan.n_operands]; d++) dims[d] = plan.size[plan.term[plan.n_operands][d]];
  return pipeline_charge_multiplications(call, cost * call->n_inputs, error) &&
         pipeline_output_set(call, 0, call->inputs[0]->type, plan.n_terms[plan.n_operands], dims, error);
}

/* Stride of every index in an operand; a repeated index (a diagonal) adds up. */
static void index_strides(const Plan *plan, guint operand, const PipelineTensor *tensor, gsize *strides)
{
  gsize plain[ONNX_MAX_DIMENSIONS];
  pipeline_strides(tensor, plain);
  memset(strides, 0, MAX_INDICES * sizeof(gsize));
  for (guint d = 0; d < tensor->n_dims; d++)
    if (tensor->dims[d] != 1) strides[plan->term[operand][d]] += plain[d];
}

/* Walks the indices of one kind (free or summed) to position `number`. */
static void place(const Plan *plan, gboolean is_free, gsize number, gsize *position)
{
  for (guint i = plan->n_indices; i-- > 0;) {
    if (plan->is_free[i] != is_free) continue;
    position[i] = number % (gsize)plan->size[i];
    number /= (gsize)plan->size[i];
  }
}

static gsize offset_of(const Plan *plan, const gsize *strides, const gsize *position)
{
  gsize offset = 0;
  for (guint i = 0; i < plan->n_indices; i++) offset += strides[i] * position[i];
  return offset;
}

gboolean pipeline_einsum_run(PipelineCall *call, GError **error)
{
  Plan plan;
  if (!read_plan(call, &plan, error)) return FALSE;
  PipelineTensor *out = call->outputs[0];
  gsize strides[MAX_OPERANDS + 1][MAX_INDICES], position[MAX_INDICES] = {0}, summed = 1;
  for (guint i = 0; i < call->n_inputs; i++) index_strides(&plan, i, call->inputs[i], strides[i]);
  index_strides(&plan, plan.n_operands, out, strides[plan.n_operands]);
  for (guint i = 0; i < plan.n_indices; i++)
    if (!plan.is_free[i]) summed *= (gsize)plan.size[i];
  for (gsize free_index = 0; free_index < out->n; free_index++) {
    double sum = 0;
    place(&plan, TRUE, free_index, position);
    for (gsize s = 0; s < summed; s++) {
      double product = 1;
      place(&plan, FALSE, s, position);
      for (guint i = 0; i < call->n_inputs; i++)
        product *= pipeline_element_get_double(call->inputs[i], offset_of(&plan, strides[i], position));
      sum += product;
    }
    pipeline_element_put_double(out, offset_of(&plan, strides[plan.n_operands], position), sum);
  }
  return TRUE;
}
