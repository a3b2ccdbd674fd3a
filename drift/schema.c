#include "drift/schema.h"

#include <string.h>

G_DEFINE_QUARK(kedge - drift - error, drift_error)

static void feature_free(gpointer data)
{
  DriftFeature *feature = data;
  g_free(feature->name);
  g_free(feature);
}

DriftSchema *drift_schema_new(DriftTask task, const gchar *label)
{
  DriftSchema *schema = g_new0(DriftSchema, 1);
  schema->task = task;
  schema->label = g_strdup(label);
  schema->features = g_ptr_array_new_with_free_func(feature_free);
  schema->classes = g_ptr_array_new_with_free_func(g_free);
  return schema;
}

DriftSchema *drift_schema_copy(const DriftSchema *schema)
{
  DriftSchema *copy = drift_schema_new(schema->task, schema->label);
  for (guint i = 0; i < schema->features->len; i++) {
    const DriftFeature *feature = drift_schema_get_feature(schema, i);
    drift_schema_add_feature(copy, feature->name, feature->kind, feature->sensitive, feature->input);
  }
  for (guint i = 0; i < schema->classes->len; i++) drift_schema_add_class(copy, g_ptr_array_index(schema->classes, i));
  copy->positive_class = schema->positive_class;
  return copy;
}

void drift_schema_free(DriftSchema *schema)
{
  if (schema == NULL) return;
  g_free(schema->label);
  g_ptr_array_unref(schema->features);
  g_ptr_array_unref(schema->classes);
  g_free(schema);
}

void drift_schema_add_feature(DriftSchema *schema, const gchar *name, DriftFeatureKind kind, gboolean sensitive,
                              gboolean input)
{
  DriftFeature *feature = g_new0(DriftFeature, 1);
  feature->name = g_strdup(name);
  feature->kind = kind;
  feature->sensitive = sensitive;
  feature->input = input;
  g_ptr_array_add(schema->features, feature);
}

void drift_schema_add_class(DriftSchema *schema, const gchar *name)
{
  g_ptr_array_add(schema->classes, g_strdup(name));
}

guint drift_schema_n_features(const DriftSchema *schema)
{
  return schema->features->len;
}

const DriftFeature *drift_schema_get_feature(const DriftSchema *schema, guint index)
{
  return g_ptr_array_index(schema->features, index);
}

gint drift_schema_find_feature(const DriftSchema *schema, const gchar *name)
{
  for (guint i = 0; i < schema->features->len; i++)
    if (strcmp(drift_schema_get_feature(schema, i)->name, name) == 0) return (gint)i;
  return -1;
}

static gint find_class_text(const DriftSchema *schema, const DriftValue *value)
{
  for (guint i = 0; i < schema->classes->len; i++) {
    const gchar *name = g_ptr_array_index(schema->classes, i);
    if (strlen(name) == value->length && memcmp(name, value->text, value->length) == 0) return (gint)i;
  }
  return -1;
}

gint drift_schema_class_of(const DriftSchema *schema, const DriftValue *value)
{
  if (value->kind == DRIFT_VALUE_TEXT) {
    gint exact = find_class_text(schema, value);
    if (exact >= 0) return exact;
  }
  double number;
  if (!drift_value_to_number(value, &number)) return -1;
  for (guint i = 0; i < schema->classes->len; i++) {
    const gchar *name = g_ptr_array_index(schema->classes, i);
    DriftValue class_value = drift_value_text(name, -1);
    double class_number;
    if (drift_value_to_number(&class_value, &class_number) && class_number == number) return (gint)i;
  }
  return -1;
}
