/* A grid as bytes: schema, then every quantity's edges or categories, then (version 2) the pairs counted together. A
 * grid without pairs is written as version 1 was, so that it keeps its name. */
#include "drift/grid_internal.h"

#include <math.h>
#include <string.h>

#include "drift/bytes_internal.h"

#define GRID_MAGIC "KDGR"
#define GRID_VERSION 1
#define GRID_VERSION_WITH_PAIRS 2

static void put_schema(GByteArray *out, const DriftSchema *schema)
{
  drift_put_u8(out, (guint8)schema->task);
  drift_put_string(out, schema->label != NULL ? schema->label : "");
  drift_put_u32(out, schema->positive_class);
  drift_put_u32(out, schema->classes->len);
  for (guint i = 0; i < schema->classes->len; i++) drift_put_string(out, g_ptr_array_index(schema->classes, i));
  drift_put_u32(out, schema->features->len);
  for (guint i = 0; i < schema->features->len; i++) {
    const DriftFeature *feature = drift_schema_get_feature(schema, i);
    drift_put_string(out, feature->name);
    drift_put_u8(out, (guint8)feature->kind);
    drift_put_u8(out, (guint8)((feature->sensitive ? 1 : 0) | (feature->input ? 2 : 0)));
  }
}

static void put_quantity(GByteArray *out, const DriftQuantity *quantity)
{
  drift_put_u8(out, (guint8)quantity->kind);
  if (quantity->kind == DRIFT_NUMERIC) {
    drift_put_u32(out, quantity->bins->n_edges);
    for (guint i = 0; i < quantity->bins->n_edges; i++) drift_put_double(out, quantity->bins->edges[i]);
    drift_put_u8(out, (guint8)quantity->n_quartiles);
    for (guint i = 0; i < quantity->n_quartiles; i++) drift_put_double(out, quantity->quartiles[i]);
    return;
  }
  guint n = drift_categories_n(quantity->categories);
  drift_put_u32(out, n);
  for (guint i = 0; i < n; i++) drift_put_string(out, drift_categories_get(quantity->categories, i));
}

/* Marks of the quantities in pairs, ascending; then the pairs. */
static void put_pairs(GByteArray *out, const DriftGrid *grid)
{
  const DriftGridPairs *joint = &grid->joint;
  guint n = 0;
  for (guint i = 0; i < grid->n_quantities; i++) n += joint->partitions[i].part_of != NULL;
  drift_put_u32(out, n);
  for (guint i = 0; i < grid->n_quantities; i++) {
    const DriftPartMarks *marks = &joint->partitions[i].marks;
    if (joint->partitions[i].part_of == NULL) continue;
    drift_put_u32(out, i);
    drift_put_u8(out, (guint8)marks->n);
    for (guint mark = 0; mark < marks->n; mark++) drift_put_u16(out, marks->at[mark]);
  }
  drift_put_u32(out, joint->n);
  for (guint i = 0; i < joint->n; i++) {
    drift_put_u32(out, joint->pairs[i].first);
    drift_put_u32(out, joint->pairs[i].second);
    drift_put_double(out, joint->pairs[i].inflation);
    drift_put_double(out, joint->pairs[i].concentration);
  }
}

GBytes *drift_grid_to_bytes(const DriftGrid *grid)
{
  g_autoptr(GByteArray) raw = g_byte_array_new();
  put_schema(raw, grid->schema);
  for (guint i = 0; i < grid->n_quantities; i++) put_quantity(raw, &grid->quantities[i]);
  if (grid->joint.n == 0) return drift_frame_pack(GRID_MAGIC, GRID_VERSION, raw);
  put_pairs(raw, grid);
  return drift_frame_pack(GRID_MAGIC, GRID_VERSION_WITH_PAIRS, raw);
}

static void get_features(DriftReader *reader, DriftSchema *schema)
{
  guint n = drift_get_u32(reader);
  if (n > DRIFT_GRID_MAX_FEATURES) reader->failed = TRUE;
  for (guint i = 0; i < n && !reader->failed; i++) {
    g_autofree gchar *name = drift_get_string(reader, DRIFT_GRID_MAX_TEXT);
    guint8 kind = drift_get_u8(reader), flags = drift_get_u8(reader);
    if (kind > DRIFT_CATEGORICAL || flags > 3) reader->failed = TRUE;
    if (!reader->failed) drift_schema_add_feature(schema, name, (DriftFeatureKind)kind, flags & 1, (flags & 2) != 0);
  }
}

static DriftSchema *get_schema(DriftReader *reader)
{
  guint8 task = drift_get_u8(reader);
  g_autofree gchar *label = drift_get_string(reader, DRIFT_GRID_MAX_TEXT);
  if (task > DRIFT_TASK_REGRESSION) reader->failed = TRUE;
  g_autoptr(DriftSchema) schema = drift_schema_new((DriftTask)task, label);
  schema->positive_class = drift_get_u32(reader);
  guint n_classes = drift_get_u32(reader);
  if (n_classes > DRIFT_GRID_MAX_CATEGORIES) reader->failed = TRUE;
  for (guint i = 0; i < n_classes && !reader->failed; i++) {
    g_autofree gchar *name = drift_get_string(reader, DRIFT_GRID_MAX_TEXT);
    if (name != NULL) drift_schema_add_class(schema, name);
  }
  get_features(reader, schema);
  gboolean classes_fit = task == DRIFT_TASK_REGRESSION || n_classes >= 2;
  gboolean positive_fits = task != DRIFT_TASK_BINARY || schema->positive_class < n_classes;
  if (!classes_fit || !positive_fits) reader->failed = TRUE;
  return reader->failed ? NULL : g_steal_pointer(&schema);
}

static gboolean is_ascending(const double *values, guint n)
{
  for (guint i = 0; i < n; i++)
    if (isnan(values[i]) || (i > 0 && values[i] <= values[i - 1])) return FALSE;
  return TRUE;
}

static void get_numeric(DriftReader *reader, DriftQuantity *quantity)
{
  double edges[DRIFT_GRID_MAX_BINS];
  guint n_edges = drift_get_u32(reader);
  if (n_edges > G_N_ELEMENTS(edges)) reader->failed = TRUE;
  for (guint i = 0; i < n_edges && !reader->failed; i++) edges[i] = drift_get_double(reader);
  guint n_quartiles = drift_get_u8(reader);
  if (n_quartiles > G_N_ELEMENTS(quantity->quartiles)) reader->failed = TRUE;
  for (guint i = 0; i < n_quartiles && !reader->failed; i++) quantity->quartiles[i] = drift_get_double(reader);
  if (reader->failed || !is_ascending(edges, n_edges) || !is_ascending(quantity->quartiles, n_quartiles)) {
    reader->failed = TRUE;
    return;
  }
  quantity->n_quartiles = n_quartiles;
  quantity->bins = drift_bins_new(edges, n_edges);
}

static void get_categorical(DriftReader *reader, DriftQuantity *quantity)
{
  guint n = drift_get_u32(reader);
  if (n > DRIFT_GRID_MAX_CATEGORIES) reader->failed = TRUE;
  g_autoptr(GPtrArray) texts = g_ptr_array_new_with_free_func(g_free);
  for (guint i = 0; i < n && !reader->failed; i++) {
    gchar *text = drift_get_string(reader, DRIFT_GRID_MAX_TEXT);
    if (text != NULL) g_ptr_array_add(texts, text);
  }
  if (!reader->failed) quantity->categories = drift_categories_new((const gchar *const *)texts->pdata, texts->len);
}

/* The kind that quantity `index` must have: a feature's is the schema's. */
static gboolean kind_fits(const DriftSchema *schema, guint index, DriftFeatureKind kind)
{
  guint n_features = drift_schema_n_features(schema);
  if (index < n_features) return kind == drift_schema_get_feature(schema, index)->kind;
  gboolean is_class = index - n_features == DRIFT_OUTPUT_PREDICTION && schema->task != DRIFT_TASK_REGRESSION;
  return kind == (is_class ? DRIFT_CATEGORICAL : DRIFT_NUMERIC);
}

static DriftQuantity *get_quantities(DriftReader *reader, const DriftSchema *schema)
{
  guint n = drift_schema_n_features(schema) + DRIFT_N_OUTPUTS;
  DriftQuantity *quantities = g_new0(DriftQuantity, n);
  for (guint i = 0; i < n && !reader->failed; i++) {
    guint8 kind = drift_get_u8(reader);
    if (kind > DRIFT_CATEGORICAL || !kind_fits(schema, i, (DriftFeatureKind)kind)) reader->failed = TRUE;
    if (reader->failed) break;
    quantities[i].kind = (DriftFeatureKind)kind;
    if (kind == DRIFT_NUMERIC)
      get_numeric(reader, &quantities[i]);
    else
      get_categorical(reader, &quantities[i]);
    if (!reader->failed) drift_quantity_finish(&quantities[i]);
  }
  const DriftQuantity *prediction = &quantities[n - DRIFT_N_OUTPUTS + DRIFT_OUTPUT_PREDICTION];
  if (!reader->failed && prediction->kind == DRIFT_CATEGORICAL && prediction->n_bins != schema->classes->len)
    reader->failed = TRUE;
  if (!reader->failed) return quantities;
  drift_quantities_free(quantities, n);
  return NULL;
}

static void get_partitions(DriftReader *reader, const DriftQuantity *quantities, guint n_quantities,
                           DriftPartition *partitions)
{
  guint n = drift_get_u32(reader), next = 0;
  for (guint i = 0; i < n && !reader->failed; i++) {
    DriftPartMarks marks = {.n = 0};
    guint quantity = drift_get_u32(reader);
    guint8 n_marks = drift_get_u8(reader);
    if (quantity < next || quantity >= n_quantities || n_marks > G_N_ELEMENTS(marks.at)) reader->failed = TRUE;
    for (; marks.n < n_marks && !reader->failed; marks.n++) marks.at[marks.n] = drift_get_u16(reader);
    if (reader->failed || !drift_part_marks_fit(&quantities[quantity], &marks)) {
      reader->failed = TRUE;
      return;
    }
    drift_partition_init(&partitions[quantity], &quantities[quantity], &marks);
    next = quantity + 1;
  }
}

/* Pairs ascend and are of quantities that have parts. */
static void get_pair(DriftReader *reader, const DriftGridPairs *joint, guint n_quantities, guint index)
{
  DriftGridPair *pair = &joint->pairs[index];
  pair->first = drift_get_u32(reader);
  pair->second = drift_get_u32(reader);
  pair->inflation = drift_get_double(reader);
  pair->concentration = drift_get_double(reader);
  if (pair->first >= pair->second || pair->second >= n_quantities) reader->failed = TRUE;
  if (!(pair->inflation >= 1 && isfinite(pair->inflation)) ||
      !(pair->concentration >= 1 && isfinite(pair->concentration)))
    reader->failed = TRUE;
  if (reader->failed) return;
  const DriftGridPair *last = index > 0 ? &joint->pairs[index - 1] : NULL;
  gboolean ascends =
      last == NULL || last->first < pair->first || (last->first == pair->first && last->second < pair->second);
  if (!ascends || joint->partitions[pair->first].part_of == NULL || joint->partitions[pair->second].part_of == NULL)
    reader->failed = TRUE;
}

/* A quantity with parts is in a pair, or another grid's bytes would say the same. */
static gboolean all_are_used(const DriftGridPairs *joint, guint n_quantities)
{
  for (guint i = 0; i < n_quantities; i++) {
    gboolean used = FALSE;
    for (guint j = 0; j < joint->n; j++) used |= joint->pairs[j].first == i || joint->pairs[j].second == i;
    if (used != (joint->partitions[i].part_of != NULL)) return FALSE;
  }
  return TRUE;
}

static void get_pairs(DriftReader *reader, const DriftQuantity *quantities, guint n_quantities, DriftGridPairs *joint)
{
  joint->partitions = g_new0(DriftPartition, n_quantities);
  get_partitions(reader, quantities, n_quantities, joint->partitions);
  joint->n = drift_get_u32(reader);
  if (joint->n == 0 || joint->n > DRIFT_GRID_MAX_PAIRS) reader->failed = TRUE;
  if (reader->failed) return;
  joint->pairs = g_new0(DriftGridPair, joint->n);
  for (guint i = 0; i < joint->n && !reader->failed; i++) get_pair(reader, joint, n_quantities, i);
  if (!reader->failed && !all_are_used(joint, n_quantities)) reader->failed = TRUE;
}

DriftGrid *drift_grid_from_bytes(GBytes *bytes, GError **error)
{
  guint8 version = drift_frame_version(bytes) == GRID_VERSION_WITH_PAIRS ? GRID_VERSION_WITH_PAIRS : GRID_VERSION;
  g_autoptr(GBytes) raw = drift_frame_unpack(GRID_MAGIC, version, DRIFT_GRID_MAX_BYTES, "grid", bytes, error);
  if (raw == NULL) return NULL;
  gsize length;
  const guint8 *data = g_bytes_get_data(raw, &length);
  DriftReader reader;
  drift_reader_init(&reader, data, length);
  g_autoptr(DriftSchema) schema = get_schema(&reader);
  DriftQuantity *quantities = schema != NULL ? get_quantities(&reader, schema) : NULL;
  guint n_quantities = schema != NULL ? drift_schema_n_features(schema) + DRIFT_N_OUTPUTS : 0;
  DriftGridPairs joint = {.n = 0};
  if (quantities != NULL && version == GRID_VERSION_WITH_PAIRS) get_pairs(&reader, quantities, n_quantities, &joint);
  if (quantities != NULL && !reader.failed && drift_reader_left(&reader) == 0)
    return drift_grid_new_take(g_steal_pointer(&schema), quantities, &joint);
  drift_grid_pairs_clear(&joint, n_quantities);
  if (quantities != NULL) drift_quantities_free(quantities, n_quantities);
  g_set_error(error, DRIFT_ERROR, DRIFT_ERROR_INVALID,
              "grid: contents that a grid cannot have, before offset %" G_GSIZE_FORMAT " of %" G_GSIZE_FORMAT
              " uncompressed bytes",
              (gsize)(reader.at - data), length);
  return NULL;
}
