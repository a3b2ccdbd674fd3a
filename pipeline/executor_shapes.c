#include "pipeline/executor_shapes.h"

#include <string.h>

#include "pipeline/executor.h"

#define MAX_SYMBOLS 8

typedef struct {
  OnnxGraph *graph;
  GArray *places;                          /* of guint: the symbol of every unknown dimension of the inputs, in order */
  GPtrArray *symbols;                      /* of gchar*, borrowed from the inputs; NULL: a dimension without one */
  GHashTable *from_data;                   /* names of values whose elements depend on what is fed */
  GHashTable *unknown;                     /* names of values whose shape does */
  PipelineExecutor *runs[MAX_SYMBOLS + 1]; /* [0]: usual sizes; [1 + i]: symbol i has another one */
} Shapes;

/* Distinct primes, so that no product of sizes looks like another size. */
static const gint64 usual_sizes[MAX_SYMBOLS] = {11, 13, 17, 19, 23, 29, 31, 37};
static const gint64 other_sizes[MAX_SYMBOLS] = {22, 26, 34, 38, 46, 58, 62, 74};

/* --- which shapes depend on data
 * -------------------------------------------------------------------------------------------- */

/* Operators whose output shape depends on the elements of inputs from `first` on. */
static const struct {
  const gchar *name;
  guint first;
} value_shaped[] = {
    {"NonZero", 0},  {"Unique", 0},    {"Range", 0},       {"ConstantOfShape", 0}, {"NonMaxSuppression", 0},
    {"Compress", 1}, {"Reshape", 1},   {"Expand", 1},      {"Slice", 1},           {"Tile", 1},
    {"OneHot", 1},   {"TopK", 1},      {"Resize", 1},      {"Upsample", 1},        {"Pad", 1},
    {"Split", 1},    {"Squeeze", 1},   {"Unsqueeze", 1},   {"CenterCropPad", 1},   {"AffineGrid", 1},
    {"Col2Im", 1},   {"MaxUnpool", 2}, {"StringSplit", 0}, {"StringNormalizer", 0}};

/* First input whose elements count, or G_MAXUINT. Reductions: the axes. */
static guint first_shaping_input(const OnnxNode *node)
{
  for (gsize i = 0; i < G_N_ELEMENTS(value_shaped); i++)
    if (strcmp(value_shaped[i].name, node->op_type) == 0) return value_shaped[i].first;
  return g_str_has_prefix(node->op_type, "Reduce") ? 1 : G_MAXUINT;
}

static void mark_node(Shapes *shapes, const OnnxNode *node)
{
  gboolean is_shape = strcmp(node->op_type, "Shape") == 0 || strcmp(node->op_type, "Size") == 0;
  gboolean from_data = g_str_has_prefix(node->op_type, "Random"), unknown = FALSE;
  for (guint i = 0; i < node->inputs->len; i++) {
    const gchar *name = g_ptr_array_index(node->inputs, i);
    gboolean data = g_hash_table_contains(shapes->from_data, name),
             vague = g_hash_table_contains(shapes->unknown, name);
    from_data = from_data || vague || (data && !is_shape);
    unknown = unknown || vague || (data && i >= first_shaping_input(node));
  }
  for (guint i = 0; i < node->outputs->len; i++) {
    if (from_data) g_hash_table_add(shapes->from_data, g_ptr_array_index(node->outputs, i));
    if (unknown) g_hash_table_add(shapes->unknown, g_ptr_array_index(node->outputs, i));
  }
}

static void mark(Shapes *shapes)
{
  for (guint i = 0; i < shapes->graph->inputs->len; i++)
    g_hash_table_add(shapes->from_data, ((OnnxValue *)g_ptr_array_index(shapes->graph->inputs, i))->name);
  for (guint n = 0; n < shapes->graph->nodes->len; n++) mark_node(shapes, g_ptr_array_index(shapes->graph->nodes, n));
}

/* --- running
 * ------------------------------------------------------------------------------------------------------------- */

/* The first dimension is the rows of a batch, also where a model does not name it. */
#define ROWS "N"

static gboolean collect_symbol(Shapes *shapes, const gchar *symbol, GError **error)
{
  guint index = shapes->symbols->len;
  for (guint s = 0; s < shapes->symbols->len; s++)
    if (symbol != NULL && g_strcmp0(g_ptr_array_index(shapes->symbols, s), symbol) == 0) index = s;
  if (index == MAX_SYMBOLS) {
    g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_UNSUPPORTED, "the inputs have more than %d unknown dimensions",
                MAX_SYMBOLS);
    return FALSE;
  }
  if (index == shapes->symbols->len) g_ptr_array_add(shapes->symbols, (gpointer)symbol);
  g_array_append_val(shapes->places, index);
  return TRUE;
}

/* Every unknown dimension of the inputs, in order. */
static gboolean collect_symbols(Shapes *shapes, GError **error)
{
  for (guint i = 0; i < shapes->graph->inputs->len; i++) {
    const OnnxValue *input = g_ptr_array_index(shapes->graph->inputs, i);
    if (!input->has_shape) {
      g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_UNSUPPORTED, "input '%s' has no shape", input->name);
      return FALSE;
    }
    for (guint d = 0; d < input->n_dims; d++) {
      const OnnxDimension *dimension = &input->dims[d];
      const gchar *symbol = dimension->symbol == NULL && d == 0 ? ROWS : dimension->symbol;
      if (dimension->size < 0 && !collect_symbol(shapes, symbol, error)) return FALSE;
    }
  }
  return TRUE;
}

static gboolean feed(PipelineTensor *tensor, OnnxType type, guint n_dims, const gint64 *dims, GError **error)
{
  if (!pipeline_tensor_set_shape(tensor, type, n_dims, dims, error) || !pipeline_tensor_allocate(tensor, error))
    return FALSE;
  memset(tensor->data, 0, tensor->n * pipeline_tensor_element_size(type));
  for (gsize i = 0; type == ONNX_TYPE_STRING && i < tensor->n; i++) ((PipelineText *)tensor->data)[i].text = "";
  return TRUE;
}

/* changed: number of the symbol that gets its other size, or G_MAXUINT. */
static gboolean feed_inputs(Shapes *shapes, PipelineExecutor *executor, guint changed, GError **error)
{
  guint place = 0;
  for (guint i = 0; i < shapes->graph->inputs->len; i++) {
    const OnnxValue *input = g_ptr_array_index(shapes->graph->inputs, i);
    gint64 dims[ONNX_MAX_DIMENSIONS];
    for (guint d = 0; d < input->n_dims; d++) {
      dims[d] = input->dims[d].size;
      if (dims[d] >= 0) continue;
      guint symbol = g_array_index(shapes->places, guint, place++);
      dims[d] = symbol == changed ? other_sizes[symbol] : usual_sizes[symbol];
    }
    if (!feed(pipeline_executor_get_input(executor, i), input->type, input->n_dims, dims, error)) return FALSE;
  }
  return TRUE;
}

static gboolean run(Shapes *shapes, guint number, GError **error)
{
  PipelineExecutor *executor = pipeline_executor_new(shapes->graph, &pipeline_backend_reference, error);
  shapes->runs[number] = executor;
  return executor != NULL && feed_inputs(shapes, executor, number == 0 ? G_MAXUINT : number - 1, error) &&
         pipeline_executor_run(executor, TRUE, error);
}

/* --- reading the shapes off
 * --------------------------------------------------------------------------------------------- */

static void read_dimension(const Shapes *shapes, const gchar *name, guint d, OnnxDimension *out)
{
  gint64 base = pipeline_executor_get_value(shapes->runs[0], name)->dims[d];
  guint follows = G_MAXUINT, n = 0;
  for (guint s = 0; s < shapes->symbols->len; s++)
    if (pipeline_executor_get_value(shapes->runs[s + 1], name)->dims[d] != base) follows = s, n++;
  *out = (OnnxDimension){.size = n == 0 ? base : -1};
  if (n != 1 || g_ptr_array_index(shapes->symbols, follows) == NULL) return;
  gint64 usual = usual_sizes[follows], changed = pipeline_executor_get_value(shapes->runs[follows + 1], name)->dims[d];
  if (base % usual != 0 || changed != base / usual * other_sizes[follows]) return; /* follows it in another way */
  const gchar *symbol = g_ptr_array_index(shapes->symbols, follows);
  out->symbol = base == usual ? g_strdup(symbol) : g_strdup_printf("%" G_GINT64_FORMAT "*%s", base / usual, symbol);
}

static void declare(const Shapes *shapes, const gchar *name, OnnxValue *value)
{
  const PipelineTensor *tensor = pipeline_executor_get_value(shapes->runs[0], name);
  for (guint s = 0; s < shapes->symbols->len; s++)
    if (pipeline_executor_get_value(shapes->runs[s + 1], name)->n_dims != tensor->n_dims) return;
  value->type = tensor->type;
  value->has_shape = TRUE;
  value->n_dims = tensor->n_dims;
  for (guint d = 0; d < tensor->n_dims; d++) {
    OnnxDimension found;
    read_dimension(shapes, name, d, &found);
    if (value->dims[d].size >= 0 || value->dims[d].symbol != NULL) { /* what the model says stays */
      g_free(found.symbol);
      continue;
    }
    value->dims[d] = found;
  }
}

static OnnxValue *find_output(const OnnxGraph *graph, const gchar *name)
{
  for (guint i = 0; i < graph->outputs->len; i++) {
    OnnxValue *output = g_ptr_array_index(graph->outputs, i);
    if (strcmp(output->name, name) == 0) return output;
  }
  return NULL;
}

static void declare_all(Shapes *shapes)
{
  OnnxGraph *graph = shapes->graph;
  g_ptr_array_set_size(graph->values, 0);
  for (guint n = 0; n < graph->nodes->len; n++) {
    const OnnxNode *node = g_ptr_array_index(graph->nodes, n);
    for (guint i = 0; i < node->outputs->len; i++) {
      const gchar *name = onnx_node_get_output(node, i);
      const PipelineTensor *tensor = name != NULL ? pipeline_executor_get_value(shapes->runs[0], name) : NULL;
      if (tensor == NULL || tensor->type == ONNX_TYPE_UNDEFINED || g_hash_table_contains(shapes->unknown, name))
        continue;
      OnnxValue *output = find_output(graph, name);
      if (output != NULL && output->type == ONNX_TYPE_UNDEFINED) continue; /* a map or sequence, by ZipMap */
      if (output != NULL && output->has_shape && output->n_dims != tensor->n_dims) continue;
      if (output == NULL) {
        output = onnx_graph_add_output(graph, name, tensor->type, NULL);
        g_ptr_array_steal_index(graph->outputs, graph->outputs->len - 1);
        g_ptr_array_add(graph->values, output);
      }
      gboolean known = output->has_shape;
      for (guint d = 0; !known && d < ONNX_MAX_DIMENSIONS; d++) output->dims[d] = (OnnxDimension){.size = -1};
      declare(shapes, name, output);
    }
  }
}

gboolean pipeline_shapes_declare(OnnxGraph *graph, GError **error)
{
  g_autoptr(GPtrArray) symbols = g_ptr_array_new();
  g_autoptr(GArray) places = g_array_new(FALSE, FALSE, sizeof(guint));
  g_autoptr(GHashTable) from_data = g_hash_table_new(g_str_hash, g_str_equal);
  g_autoptr(GHashTable) unknown = g_hash_table_new(g_str_hash, g_str_equal);
  Shapes shapes = {.graph = graph, .symbols = symbols, .places = places, .from_data = from_data, .unknown = unknown};
  mark(&shapes);
  gboolean done = collect_symbols(&shapes, error) && run(&shapes, 0, error);
  for (guint s = 0; done && s < symbols->len; s++) done = run(&shapes, s + 1, error);
  if (done) declare_all(&shapes);
  for (guint s = 0; s <= MAX_SYMBOLS; s++) pipeline_executor_free(shapes.runs[s]);
  return done;
}
