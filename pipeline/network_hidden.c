#include "pipeline/network_hidden.h"

#include <string.h>

#include "pipeline/network_features.h"

#define CHUNK_ROWS 1024u

struct _PipelineHiddenReader {
  const PipelineNetwork *network;
  guint layer, n_columns;
  PipelineFeatureReader *features;
  PipelinePass *pass;
};

PipelineHiddenReader *pipeline_hidden_reader_new(const PipelineNetworkGraph *graph, guint layer,
                                                 const DriftSchema *schema, const gchar *backend_name, GError **error)
{
  g_autoptr(PipelineHiddenReader) reader = g_new0(PipelineHiddenReader, 1);
  reader->network = graph->network;
  reader->layer = layer;
  reader->n_columns = pipeline_network_get_layer(graph->network, layer)->n_in;
  reader->features = pipeline_feature_reader_new(graph, schema, error);
  const PipelineNetworkBackend *backend = reader->features ? pipeline_network_backend_find(backend_name, error) : NULL;
  reader->pass = backend ? pipeline_pass_new(graph->network, backend, CHUNK_ROWS, error) : NULL;
  return reader->pass ? g_steal_pointer(&reader) : NULL;
}

void pipeline_hidden_reader_free(PipelineHiddenReader *reader)
{
  if (!reader) return;
  pipeline_feature_reader_free(reader->features);
  pipeline_pass_free(reader->pass);
  g_free(reader);
}

guint pipeline_hidden_reader_n_columns(const PipelineHiddenReader *reader)
{
  return reader->n_columns;
}

float *pipeline_hidden_reader_read(PipelineHiddenReader *reader, const DriftTable *table, GError **error)
{
  g_autofree float *x = pipeline_feature_reader_read(reader->features, table, error);
  if (!x) return NULL;
  g_autofree float *hidden = g_try_new(float, MAX(table->n_rows * reader->n_columns, 1));
  if (!hidden) {
    g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_UNSUPPORTED,
                "no memory for %" G_GUINT64_FORMAT " rows of width %u", table->n_rows, reader->n_columns);
    return NULL;
  }
  for (guint64 start = 0; start < table->n_rows; start += CHUNK_ROWS) {
    guint n = (guint)MIN(CHUNK_ROWS, table->n_rows - start);
    if (!pipeline_pass_forward(reader->pass, x + start * reader->network->n_inputs, n, error)) return NULL;
    memcpy(hidden + start * reader->n_columns, pipeline_pass_get_layer_input(reader->pass, reader->layer),
           (gsize)n * reader->n_columns * sizeof(float));
  }
  return g_steal_pointer(&hidden);
}
