/* libFuzzer over the reader of model schemas: `make fuzz-spec`. What reads is written, read again and the same. */
#include "pipeline/model_spec.h"

int LLVMFuzzerTestOneInput(const guint8 *data, size_t size);

int LLVMFuzzerTestOneInput(const guint8 *data, size_t size)
{
  g_autofree gchar *json = g_strndup((const gchar *)data, size);
  g_autoptr(GError) error = NULL;
  g_autoptr(DriftSchema) schema = pipeline_model_spec_parse(json, &error);
  g_assert((schema == NULL) == (error != NULL));
  g_assert(error == NULL || g_utf8_validate(error->message, -1, NULL));
  if (schema == NULL) return 0;
  g_autofree gchar *text = pipeline_model_spec_format(schema);
  g_autoptr(DriftSchema) again = pipeline_model_spec_parse(text, &error);
  g_assert_no_error(error);
  g_autofree gchar *same = pipeline_model_spec_format(again);
  g_assert_cmpstr(text, ==, same);
  g_autoptr(DriftSchema) copy = drift_schema_copy(schema);
  for (guint i = 0; i < drift_schema_n_features(copy); i++)
    g_assert(drift_schema_find_feature(copy, drift_schema_get_feature(copy, i)->name) == (gint)i);
  return 0;
}
