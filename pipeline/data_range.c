#include "pipeline/data_range.h"

#include <string.h>

#include "pipeline/error.h"
#include "registry/shard.h"

#define CHUNK_ROWS 8192 /* read at a time, so that memory is the table's and not the log's too */
#define RANGES_MAXIMUM 1000000

/* --- the spec -------------------------------------------------------------------------------------------------------
 */

static gboolean parse_range(const json_t *item, const gchar *name, gsize index, PipelineDataRange *range,
                            GError **error)
{
  json_int_t partition = 0, label_partition = 0, first = 0, next = 0;
  gboolean shaped = json_unpack((json_t *)item, "{s:I, s:I, s:I, s:I}", "partition", &partition, "label_partition",
                                &label_partition, "first_row", &first, "next_row", &next) == 0;
  if (!shaped || partition < 0 || partition > G_MAXINT32 || label_partition < 0 || label_partition > G_MAXINT32 ||
      first < 0 || next < first) {
    g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_INVALID,
                "%s[%" G_GSIZE_FORMAT "] of the job's spec is not a range: it needs partition, label_partition, "
                "first_row and next_row, with 0 <= first_row <= next_row",
                name, index);
    return FALSE;
  }
  *range = (PipelineDataRange){.partition = (gint32)partition,
                               .label_partition = (gint32)label_partition,
                               .first_row = first,
                               .next_row = next,
                               .first_traffic_offset = -1,
                               .last_traffic_offset = -1,
                               .first_label_offset = -1,
                               .last_label_offset = -1,
                               .first_time = -1,
                               .last_time = -1};
  return TRUE;
}

GArray *pipeline_data_ranges_parse(const json_t *spec, const gchar *name, GError **error)
{
  g_autoptr(GArray) ranges = g_array_new(FALSE, FALSE, sizeof(PipelineDataRange));
  const json_t *list = json_object_get(spec, name);
  if (list == NULL || json_is_null(list)) return g_steal_pointer(&ranges);
  if (!json_is_array(list) || json_array_size(list) > RANGES_MAXIMUM) {
    g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_INVALID,
                "%s of the job's spec must be a list of at most %d ranges", name, RANGES_MAXIMUM);
    return NULL;
  }
  gint64 total = 0;
  for (gsize i = 0; i < json_array_size(list); i++) {
    PipelineDataRange range;
    if (!parse_range(json_array_get(list, i), name, i, &range, error)) return NULL;
    gint64 rows = range.next_row - range.first_row;
    if (rows > PIPELINE_DATA_MAX_ROWS - total) {
      g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_UNSUPPORTED, "%s of the job's spec names more than %d rows",
                  name, PIPELINE_DATA_MAX_ROWS);
      return NULL;
    }
    total += rows;
    g_array_append_val(ranges, range);
  }
  return g_steal_pointer(&ranges);
}

json_t *pipeline_data_ranges_to_json(const GArray *ranges)
{
  json_t *list = json_array();
  for (guint i = 0; i < ranges->len; i++) {
    const PipelineDataRange *range = &g_array_index(ranges, PipelineDataRange, i);
    json_t *item =
        json_pack("{s:i, s:i, s:I, s:I}", "partition", range->partition, "label_partition", range->label_partition,
                  "first_row", (json_int_t)range->first_row, "next_row", (json_int_t)range->next_row);
    if (range->sha256[0] != '\0') json_object_set_new(item, "sha256", json_string(range->sha256));
    if (range->first_traffic_offset >= 0) {
      json_object_set_new(item, "first_traffic_offset", json_integer(range->first_traffic_offset));
      json_object_set_new(item, "last_traffic_offset", json_integer(range->last_traffic_offset));
      json_object_set_new(item, "first_label_offset", json_integer(range->first_label_offset));
      json_object_set_new(item, "last_label_offset", json_integer(range->last_label_offset));
      json_object_set_new(item, "first_time", json_integer(range->first_time));
      json_object_set_new(item, "last_time", json_integer(range->last_time));
    }
    json_array_append_new(list, item);
  }
  return list;
}

/* --- the set --------------------------------------------------------------------------------------------------------
 */

PipelineDataSet *pipeline_data_set_new(const DriftSchema *schema)
{
  PipelineDataSet *set = g_new0(PipelineDataSet, 1);
  set->table = drift_table_new();
  for (guint i = 0; i < drift_schema_n_features(schema); i++) {
    const DriftFeature *feature = drift_schema_get_feature(schema, i);
    drift_table_add_column(set->table, feature->name, feature->kind);
  }
  drift_table_add_column(set->table, schema->label,
                         schema->task == DRIFT_TASK_REGRESSION ? DRIFT_NUMERIC : DRIFT_CATEGORICAL);
  set->times = g_array_new(FALSE, FALSE, sizeof(gint64));
  set->versions = g_array_new(FALSE, FALSE, sizeof(gint64));
  return set;
}

void pipeline_data_set_free(PipelineDataSet *set)
{
  if (set == NULL) return;
  drift_table_free(set->table);
  g_array_unref(set->times);
  g_array_unref(set->versions);
  g_free(set);
}

static void append_feature(DriftColumn *column, const DriftValue *value)
{
  gchar buffer[DRIFT_NUMBER_TEXT_SIZE];
  gsize length = 0;
  double number = 0;
  if (column->kind == DRIFT_NUMERIC) {
    if (drift_value_to_number(value, &number))
      drift_column_append_number(column, number);
    else
      drift_column_append_missing(column);
    return;
  }
  const gchar *text = drift_value_to_text(value, buffer, &length);
  if (text != NULL)
    drift_column_append_text(column, text, (gssize)length);
  else
    drift_column_append_missing(column);
}

static void append_label(DriftColumn *column, const DriftSchema *schema, const DriftValue *value)
{
  if (schema->task == DRIFT_TASK_REGRESSION) {
    append_feature(column, value);
    return;
  }
  gint class_index = drift_schema_class_of(schema, value);
  if (class_index >= 0)
    drift_column_append_text(column, g_ptr_array_index(schema->classes, class_index), -1);
  else
    drift_column_append_missing(column);
}

static void append_row(PipelineDataSet *set, const DriftSchema *schema, const DriftLabelledRow *row,
                       const DriftValue *features)
{
  guint n = drift_schema_n_features(schema);
  for (guint i = 0; i < n; i++) append_feature(g_ptr_array_index(set->table->columns, i), &features[i]);
  append_label(g_ptr_array_index(set->table->columns, n), schema, &row->label);
  g_array_append_val(set->times, row->event.event_time);
  g_array_append_val(set->versions, row->event.version);
  set->table->n_rows++;
}

static void widen(gint64 value, gboolean first, gint64 *low, gint64 *high)
{
  *low = first ? value : MIN(*low, value);
  *high = first ? value : MAX(*high, value);
}

static void cover(PipelineDataRange *range, const DriftLabelledRow *row, gboolean first)
{
  widen(row->traffic_offset, first, &range->first_traffic_offset, &range->last_traffic_offset);
  widen(row->label_offset, first, &range->first_label_offset, &range->last_label_offset);
  widen(row->event.event_time, first, &range->first_time, &range->last_time);
}

/* --- reading --------------------------------------------------------------------------------------------------------
 */

typedef struct {
  RegistryStore *store;
  RegistryArtifacts *artifacts;
  const gchar *model;
  const DriftSchema *schema;
  PipelineDataSet *set;
  DriftValue *features; /* [n_features] */
} Reader;

static gboolean refuse(const Reader *reader, const PipelineDataRange *range, gint64 row, const gchar *fault,
                       GError **error)
{
  g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_DATA,
              "row %" G_GINT64_FORMAT " of the labelled log of model \"%s\", partition %d, label partition %d: %s", row,
              reader->model, range->partition, range->label_partition, fault);
  return FALSE;
}

static gboolean parse_rows(Reader *reader, PipelineDataRange *range, gint64 first, gint64 next, GBytes *bytes,
                           GError **error)
{
  gsize length = 0;
  const guint8 *at = g_bytes_get_data(bytes, &length);
  guint n_features = drift_schema_n_features(reader->schema);
  for (gint64 number = first; number < next; number++) {
    g_autoptr(GError) fault = NULL;
    DriftLabelledRow row;
    guint n = 0;
    gsize used = length == 0 ? 0 : drift_labelled_row_parse(at, length, &row, reader->features, n_features, &n, &fault);
    if (used == 0)
      return refuse(reader, range, number, fault != NULL ? fault->message : "the log ends before it", error);
    if (n != n_features) {
      g_autofree gchar *text = g_strdup_printf("it has %u features, the model's schema %u", n, n_features);
      return refuse(reader, range, number, text, error);
    }
    cover(range, &row, number == range->first_row);
    append_row(reader->set, reader->schema, &row, reader->features);
    at += used;
    length -= used;
  }
  return length == 0 || refuse(reader, range, next, "bytes follow the last row asked for", error);
}

static gboolean read_range(Reader *reader, PipelineDataRange *range, GError **error)
{
  g_autoptr(GChecksum) checksum = g_checksum_new(G_CHECKSUM_SHA256);
  for (gint64 first = range->first_row; first < range->next_row; first += CHUNK_ROWS) {
    gint64 next = MIN(first + CHUNK_ROWS, range->next_row);
    g_autoptr(GBytes) bytes = registry_labelled_log_read(reader->store, reader->artifacts, reader->model,
                                                         range->partition, range->label_partition, first, next, error);
    if (bytes == NULL || !parse_rows(reader, range, first, next, bytes, error)) return FALSE;
    g_checksum_update(checksum, g_bytes_get_data(bytes, NULL), (gssize)g_bytes_get_size(bytes));
  }
  g_strlcpy(range->sha256, g_checksum_get_string(checksum), sizeof range->sha256);
  return TRUE;
}

gboolean pipeline_data_ranges_read(RegistryStore *store, RegistryArtifacts *artifacts, const gchar *model,
                                   const DriftSchema *schema, GArray *ranges, PipelineDataSet *set, GError **error)
{
  g_autofree DriftValue *features = g_new0(DriftValue, MAX(drift_schema_n_features(schema), 1));
  Reader reader = {
      .store = store, .artifacts = artifacts, .model = model, .schema = schema, .set = set, .features = features};
  for (guint i = 0; i < ranges->len; i++)
    if (!read_range(&reader, &g_array_index(ranges, PipelineDataRange, i), error)) return FALSE;
  return TRUE;
}

static gint compare_times(gconstpointer a, gconstpointer b, gpointer times)
{
  guint64 left = *(const guint64 *)a, right = *(const guint64 *)b;
  gint64 left_time = g_array_index((GArray *)times, gint64, left);
  gint64 right_time = g_array_index((GArray *)times, gint64, right);
  if (left_time != right_time) return left_time < right_time ? -1 : 1;
  return left < right ? -1 : left > right;
}

GArray *pipeline_data_set_usable_by_time(const PipelineDataSet *set, const DriftSchema *schema)
{
  const DriftColumn *label = drift_table_get_column(set->table, schema->label);
  GArray *rows = g_array_new(FALSE, FALSE, sizeof(guint64));
  for (guint64 row = 0; row < set->table->n_rows; row++)
    if (drift_column_get_value(label, row).kind != DRIFT_VALUE_MISSING) g_array_append_val(rows, row);
  g_array_sort_with_data(rows, compare_times, set->times);
  return rows;
}
