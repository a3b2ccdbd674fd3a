/* `kedge export`. */
#include <stdio.h>

#include "daemon/command_data.h"
#include "daemon/command_store.h"
#include "onnx/graph.h"
#include "registry/model.h"
#include "pipeline/output_file.h"

extern const Command command_export;

static gboolean write_model(const gchar *path, GBytes *onnx, GError **error)
{
  gsize length = 0;
  const gchar *bytes = g_bytes_get_data(onnx, &length);
  if (!g_str_equal(path, "-")) return pipeline_output_file_write(path, bytes, length, error);
  if (fwrite(bytes, 1, length, stdout) == length && fflush(stdout) == 0) return TRUE;
  g_set_error_literal(error, G_FILE_ERROR, G_FILE_ERROR_IO, "standard output cannot be written");
  return FALSE;
}

/* A file as one: data that lie beside it are read in, and it is checked as a registered model is. */
static json_t *export_file(const CommandCommon *common, const gchar *reference, const gchar *path, GError **error)
{
  g_autoptr(GBytes) onnx = command_read_onnx(common, reference, error);
  g_autoptr(OnnxGraph) graph = onnx != NULL ? onnx_graph_from_bytes(onnx, error) : NULL;
  if (graph == NULL || !write_model(path, onnx, error)) return NULL;
  g_autofree gchar *digest = g_compute_checksum_for_bytes(G_CHECKSUM_SHA256, onnx);
  return json_pack("{s:s, s:n, s:s, s:I, s:s}", "model", reference, "version", "path", path, "bytes",
                   (json_int_t)g_bytes_get_size(onnx), "sha256", digest);
}

static json_t *export_version(const CommandCommon *common, const gchar *reference, const gchar *path, GError **error)
{
  g_autoptr(RegistryStore) store = command_open_store(common, error);
  if (store == NULL) return NULL;
  g_autofree gchar *model = NULL;
  gint64 number = 0;
  if (!registry_resolve(store, reference, &model, &number, error)) return NULL;
  g_autoptr(RegistryVersion) version = registry_version_get(store, model, number, error);
  g_autoptr(RegistryArtifacts) artifacts = version != NULL ? command_open_artifacts(common, error) : NULL;
  if (artifacts == NULL) return NULL;
  g_autoptr(GBytes) onnx = registry_artifacts_get(artifacts, version->onnx_digest, error);
  if (onnx == NULL || !write_model(path, onnx, error)) return NULL;
  return json_pack("{s:s, s:I, s:s, s:I, s:s}", "model", model, "version", (json_int_t)number, "path", path, "bytes",
                   (json_int_t)g_bytes_get_size(onnx), "sha256", version->onnx_digest);
}

static json_t *export_model(const CommandCommon *common, const gchar *reference, const gchar *path, GError **error)
{
  return g_str_has_suffix(reference, ".onnx") ? export_file(common, reference, path, error)
                                              : export_version(common, reference, path, error);
}

static void print_export(json_t *out)
{
  const gchar *path = json_string_value(json_object_get(out, "path"));
  g_autofree gchar *bytes = command_text_count(json_object_get(out, "bytes"));
  if (g_str_equal(path, "-")) return; /* standard output holds the model */
  json_t *version = json_object_get(out, "version");
  g_autofree gchar *number =
      json_is_integer(version) ? g_strdup_printf("/%" JSON_INTEGER_FORMAT, json_integer_value(version)) : g_strdup("");
  printf("%s: %s%s, %s bytes, sha256 %s\n", path, json_string_value(json_object_get(out, "model")), number, bytes,
         json_string_value(json_object_get(out, "sha256")));
}

static int run_export(int argc, char **argv)
{
  gchar *path = NULL;
  const GOptionEntry entries[] = {
      {"output", 'o', 0, G_OPTION_ARG_FILENAME, &path, "where to write it (\"-\": standard output)", "M.onnx"},
      G_OPTION_ENTRY_NULL};
  CommandCommon common;
  if (!command_parse(&command_export, &argc, &argv, entries, &common)) return COMMAND_USAGE;
  int status;
  if (argc != 2 || path == NULL)
    status = command_usage(&common, "one MODEL and -o M.onnx are needed");
  else if (common.json && g_str_equal(path, "-"))
    status = command_usage(&common, "--json and -o - exclude each other");
  else {
    g_autoptr(GError) error = NULL;
    json_t *out = export_model(&common, argv[1], path, &error);
    status = command_report(&common, out, error, print_export);
  }
  g_free(path);
  return status;
}

const Command command_export = {
    .name = "export",
    .arguments = "MODEL -o M.onnx",
    .summary = "write a version's ONNX, checked by its SHA-256, or a file's as one",
    .help =
        "MODEL is NAME@ALIAS, NAME/VERSION, or a file M.onnx: then data that lie beside it are written into the one\n"
        "file.\n"
        "\n"
        "--json prints {\"model\", \"version\", \"path\", \"bytes\", \"sha256\"}; the version of a file is null.",
    .run = run_export,
};
