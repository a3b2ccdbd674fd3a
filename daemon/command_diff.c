/* `kedge diff`: two versions of a model side by side. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "daemon/command_store.h"
#include "daemon/report.h"
#include "drift/window.h"
#include "pipeline/model_spec.h"
#include "registry/model.h"

extern const Command command_diff;

static json_t *real_or_null(double value)
{
  return isfinite(value) ? json_real(value) : json_null();
}

static DriftAccumulator *load_profile(RegistryArtifacts *artifacts, DriftGrid *grid, const RegistryVersion *version,
                                      GError **error)
{
  g_autoptr(GBytes) bytes = registry_artifacts_get(artifacts, version->profile_digest, error);
  g_autoptr(DriftBaseline) unused = NULL; /* of both only the counts are compared */
  return bytes != NULL ? drift_reference_from_bytes(grid, bytes, &unused, error) : NULL;
}

static json_t *feature_to_json(const DriftFeatureVerdict *feature)
{
  return json_pack("{s:s, s:s, s:o, s:o, s:o, s:o, s:I, s:I, s:b}", "feature", feature->feature, "test",
                   feature->test != NULL && *feature->test != '\0' ? feature->test : "undefined", "effect",
                   real_or_null(feature->effect), "psi", real_or_null(feature->psi), "p", real_or_null(feature->p),
                   "p_adjusted", real_or_null(feature->p_adjusted), "n_before", (json_int_t)feature->n_reference,
                   "n_after", (json_int_t)feature->n_window, "drift", feature->drift);
}

/* How the reference of `after` differs from that of `before`; an object with "undefined" when it cannot be said. */
static json_t *profile_drift(RegistryArtifacts *artifacts, const RegistryVersion *before, const RegistryVersion *after,
                             GError **error)
{
  if (before->grid_digest == NULL || before->profile_digest == NULL || after->profile_digest == NULL)
    return json_pack("{s:s}", "undefined", "a version has no profile");
  if (g_strcmp0(before->grid_digest, after->grid_digest) != 0)
    return json_pack("{s:s}", "undefined", "the profiles are on different grids");
  g_autoptr(GBytes) bytes = registry_artifacts_get(artifacts, before->grid_digest, error);
  g_autoptr(DriftGrid) grid = bytes != NULL ? drift_grid_from_bytes(bytes, error) : NULL;
  g_autoptr(DriftAccumulator) first = grid != NULL ? load_profile(artifacts, grid, before, error) : NULL;
  g_autoptr(DriftAccumulator) second = first != NULL ? load_profile(artifacts, grid, after, error) : NULL;
  if (second == NULL) return NULL;
  DriftWindowSettings settings;
  drift_window_settings_init(&settings);
  g_autoptr(DriftWindowVerdict) verdict = drift_window_evaluate(first, second, NULL, 0, &settings, error);
  if (verdict == NULL) return NULL;
  json_t *features = json_array();
  for (guint i = 0; i < verdict->features->len; i++)
    json_array_append_new(features, feature_to_json(g_ptr_array_index(verdict->features, i)));
  return json_pack("{s:b, s:o}", "drift", verdict->drift, "features", features);
}

static gboolean add_size(RegistryArtifacts *artifacts, json_t *report, const RegistryVersion *version, GError **error)
{
  g_autoptr(GBytes) onnx = registry_artifacts_get(artifacts, version->onnx_digest, error);
  if (onnx == NULL) return FALSE;
  json_object_set_new(report, "onnx_bytes", json_integer((json_int_t)g_bytes_get_size(onnx)));
  return TRUE;
}

static json_t *diff(const CommandCommon *common, const gchar *name, const gint64 numbers[2], GError **error)
{
  g_autoptr(RegistryStore) store = command_open_store(common, error);
  g_autoptr(RegistryArtifacts) artifacts = store != NULL ? command_open_artifacts(common, error) : NULL;
  if (artifacts == NULL) return NULL;
  g_autoptr(RegistryVersion) before = registry_version_get(store, name, numbers[0], error);
  g_autoptr(RegistryVersion) after = before != NULL ? registry_version_get(store, name, numbers[1], error) : NULL;
  if (after == NULL) return NULL;
  json_t *first = report_version(store, name, numbers[0], error);
  json_t *second = first != NULL ? report_version(store, name, numbers[1], error) : NULL;
  json_t *drift = NULL;
  if (second != NULL && add_size(artifacts, first, before, error) && add_size(artifacts, second, after, error))
    drift = profile_drift(artifacts, before, after, error);
  json_t *out = drift != NULL ? json_pack("{s:s, s:O, s:O, s:b, s:o}", "model", name, "before", first, "after", second,
                                          "same_onnx", g_strcmp0(before->onnx_digest, after->onnx_digest) == 0,
                                          "profile_drift", drift)
                              : NULL;
  json_decref(first);
  json_decref(second);
  return out;
}

/* Nested objects as "challenger.accuracy"; arrays as compact JSON. */
static void flatten(json_t *value, const gchar *prefix, json_t *out)
{
  const gchar *key;
  json_t *member;
  json_object_foreach (value, key, member) {
    g_autofree gchar *path = *prefix != '\0' ? g_strdup_printf("%s.%s", prefix, key) : g_strdup(key);
    if (json_is_object(member))
      flatten(member, path, out);
    else
      json_object_set(out, path, member);
  }
}

/* Digests are cut: here they only say whether two things are the same. */
static gchar *cell(const gchar *key, json_t *value)
{
  if (json_is_string(value) && g_str_has_suffix(key, "_digest"))
    return g_strdup_printf("%.12s…", json_string_value(value));
  if (!json_is_array(value)) return command_text(value);
  gchar *dumped = json_dumps(value, JSON_COMPACT | JSON_REAL_PRECISION(6));
  gchar *text = g_strdup(dumped);
  free(dumped);
  return text;
}

static gchar *change_text(json_t *before, json_t *after)
{
  if (!json_is_number(before) || !json_is_number(after)) return g_strdup(json_equal(before, after) ? "" : "differs");
  double change = json_number_value(after) - json_number_value(before);
  return change == 0 ? g_strdup("") : g_strdup_printf("%+.6g", change);
}

static void print_fields(json_t *before, json_t *after)
{
  static const gchar *const headers[] = {"FIELD", "BEFORE", "AFTER", ">CHANGE", NULL};
  CommandTable *table = command_table_new(headers);
  json_t *first = json_object(), *second = json_object();
  flatten(before, "", first);
  flatten(after, "", second);
  json_object_update_missing(first, second); /* keys of both; values are looked up below */
  const gchar *key;
  json_t *ignored, *left = json_object();
  flatten(before, "", left);
  json_object_foreach (first, key, ignored) {
    json_t *old = json_object_get(left, key), *new = json_object_get(second, key);
    g_autofree gchar *old_text = cell(key, old), *new_text = cell(key, new), *change = change_text(old, new);
    command_table_add(table, key, old_text, new_text, change, NULL);
  }
  command_table_print(table);
  json_decref(first);
  json_decref(second);
  json_decref(left);
}

static void print_profile_drift(json_t *drift)
{
  static const gchar *const headers[] = {"FEATURE",   "TEST",     ">EFFECT", ">PSI", ">P (ADJUSTED)",
                                         ">N BEFORE", ">N AFTER", "DRIFT",   NULL};
  json_t *undefined = json_object_get(drift, "undefined");
  if (undefined != NULL) {
    printf("\nprofile drift: undefined, %s\n", json_string_value(undefined));
    return;
  }
  puts("\nprofile drift, strongest first:");
  CommandTable *table = command_table_new(headers);
  gsize i;
  json_t *feature;
  json_array_foreach (json_object_get(drift, "features"), i, feature) {
    g_autofree gchar *name = command_text(json_object_get(feature, "feature"));
    g_autofree gchar *test = command_text(json_object_get(feature, "test"));
    g_autofree gchar *effect = command_text_real(json_object_get(feature, "effect"), 4);
    g_autofree gchar *psi = command_text_real(json_object_get(feature, "psi"), 4);
    g_autofree gchar *p = command_text(json_object_get(feature, "p_adjusted"));
    g_autofree gchar *n_before = command_text_count(json_object_get(feature, "n_before"));
    g_autofree gchar *n_after = command_text_count(json_object_get(feature, "n_after"));
    g_autofree gchar *yes = command_text(json_object_get(feature, "drift"));
    command_table_add(table, name, test, effect, psi, p, n_before, n_after, yes, NULL);
  }
  command_table_print(table);
}

static void print_diff(json_t *out)
{
  print_fields(json_object_get(out, "before"), json_object_get(out, "after"));
  print_profile_drift(json_object_get(out, "profile_drift"));
}

static int run_diff(int argc, char **argv)
{
  CommandCommon common;
  if (!command_parse(&command_diff, &argc, &argv, NULL, &common)) return COMMAND_USAGE;
  if (argc != 4) return command_usage(&common, "NAME, V and W are needed");
  g_autoptr(GError) error = NULL;
  gint64 numbers[2] = {command_parse_version(argv[2], &error), 0};
  if (numbers[0] > 0) numbers[1] = command_parse_version(argv[3], &error);
  json_t *out = numbers[1] > 0 ? diff(&common, argv[1], numbers, &error) : NULL;
  return command_report(&common, out, error, print_diff);
}

const Command command_diff = {
    .name = "diff",
    .arguments = "NAME V W",
    .summary = "compare two versions: lineage, metrics, sizes, reference profiles",
    .help = "Both versions share the model's schema, which never changes; `kedge model show` prints it.\n"
            "\n"
            "--json prints {\"model\", \"before\", \"after\" (the fields of `kedge version show` and \"onnx_bytes\"), "
            "\"same_onnx\", \"profile_drift\": {\"drift\", \"features\": [{\"feature\", \"test\", \"effect\", \"psi\", "
            "\"p\", \"p_adjusted\", \"n_before\", \"n_after\", \"drift\"}]} or {\"undefined\": why}}.",
    .run = run_diff,
};
