/* golden GOLDENS [--kind KIND] [--case ID] [--verbose]: exit status 0 when every normative case passes. */
#include <stdio.h>
#include <string.h>

#include "tests/golden/golden.h"

typedef struct {
  guint passed, failed, unknown, informative;
} Counts;

typedef struct {
  gchar *kind, *id;
  gboolean verbose;
} Options;

static const GoldenKind *find_kind(const gchar *kind)
{
  for (const GoldenKind *k = golden_kinds; k->kind != NULL; k++)
    if (g_strcmp0(k->kind, kind) == 0) return k;
  return NULL;
}

static void print_lines(const gchar *mark, const gchar *id, const GPtrArray *lines)
{
  for (guint i = 0; i < lines->len; i++) printf("%s %s: %s\n", mark, id, (const gchar *)lines->pdata[i]);
}

static void run_case(GoldenContext *context, const json_t *golden_case, const Options *options, Counts *counts)
{
  const gchar *kind_name = json_string_value(json_object_get(golden_case, "kind"));
  const gchar *id = json_string_value(json_object_get(golden_case, "id"));
  if (options->kind != NULL && g_strcmp0(options->kind, kind_name) != 0) return;
  if (options->id != NULL && g_strcmp0(options->id, id) != 0) return;
  const GoldenKind *kind = find_kind(kind_name);
  if (kind == NULL) {
    counts->unknown++;
    printf("UNKNOWN %s: no kind \"%s\"\n", id, kind_name);
    return;
  }
  golden_context_begin(context, golden_case);
  gboolean computed = kind->run(golden_case, context);
  if (!golden_context_is_informative(context)) golden_context_check_seen(context, golden_case);
  const GPtrArray *failures = golden_context_get_failures(context);
  if (!computed && failures->len == 0) golden_fail(context, "could not be computed");
  gboolean failed = failures->len > 0;
  if (golden_context_is_informative(context))
    counts->informative++;
  else if (failed)
    counts->failed++;
  else
    counts->passed++;
  if (options->verbose) print_lines("note", id, golden_context_get_notes(context));
  if (options->verbose && !failed) printf("ok %s\n", id);
  if (!golden_context_is_informative(context))
    print_lines("FAILED", id, failures);
  else if (options->verbose)
    print_lines("differs", id, failures);
}

static gboolean run_family(GoldenContext *context, const gchar *path, const Options *options, Counts *total)
{
  json_error_t error;
  json_t *family = json_load_file(path, 0, &error);
  const json_t *cases = json_object_get(family, "cases");
  if (family == NULL || !json_is_array(cases)) {
    fprintf(stderr, "%s:%d: %s\n", path, error.line, family == NULL ? error.text : "no \"cases\"");
    json_decref(family);
    return FALSE;
  }
  Counts counts = {0};
  for (gsize i = 0; i < json_array_size(cases); i++) run_case(context, json_array_get(cases, i), options, &counts);
  if (counts.passed + counts.failed + counts.unknown + counts.informative > 0)
    printf("%-20s passed %u, failed %u, unknown %u, informative %u\n",
           json_string_value(json_object_get(family, "family")), counts.passed, counts.failed, counts.unknown,
           counts.informative);
  total->passed += counts.passed, total->failed += counts.failed;
  total->unknown += counts.unknown, total->informative += counts.informative;
  json_decref(family);
  return TRUE;
}

static gint compare_names(gconstpointer a, gconstpointer b)
{
  return strcmp(*(const gchar *const *)a, *(const gchar *const *)b);
}

static GPtrArray *list_families(const gchar *folder, GError **error)
{
  g_autoptr(GDir) dir = g_dir_open(folder, 0, error);
  if (dir == NULL) return NULL;
  GPtrArray *paths = g_ptr_array_new_with_free_func(g_free);
  for (const gchar *name = g_dir_read_name(dir); name != NULL; name = g_dir_read_name(dir))
    if (g_str_has_suffix(name, ".json")) g_ptr_array_add(paths, g_build_filename(folder, name, NULL));
  g_ptr_array_sort(paths, compare_names);
  if (paths->len > 0) return paths;
  g_set_error(error, G_FILE_ERROR, G_FILE_ERROR_NOENT, "%s holds no family (*.json)", folder);
  g_ptr_array_unref(paths);
  return NULL;
}

int main(int argc, char **argv)
{
  Options options = {0};
  const GOptionEntry entries[] = {
      {"kind", 0, 0, G_OPTION_ARG_STRING, &options.kind, "only cases of this kind", "KIND"},
      {"case", 0, 0, G_OPTION_ARG_STRING, &options.id, "only this case", "ID"},
      {"verbose", 'v', 0, G_OPTION_ARG_NONE, &options.verbose, "say what passed; what informative cases show", NULL},
      {NULL, 0, 0, 0, NULL, NULL, NULL}};
  g_autoptr(GOptionContext) parser = g_option_context_new("GOLDENS");
  g_option_context_add_main_entries(parser, entries, NULL);
  g_autoptr(GError) error = NULL;
  if (!g_option_context_parse(parser, &argc, &argv, &error) || argc != 2) {
    fprintf(stderr, "golden: %s\n", error != NULL ? error->message : "name the folder of the reference values");
    return 2;
  }
  g_autoptr(GPtrArray) paths = list_families(argv[1], &error);
  if (paths == NULL) {
    fprintf(stderr, "golden: %s\n", error->message);
    return 1;
  }
  GoldenContext *context = golden_context_new(argv[1]);
  Counts total = {0};
  gboolean readable = TRUE;
  for (guint i = 0; i < paths->len; i++) readable &= run_family(context, paths->pdata[i], &options, &total);
  printf("golden: passed %u, failed %u, unknown %u, informative %u\n", total.passed, total.failed, total.unknown,
         total.informative);
  golden_context_free(context);
  return readable && total.failed + total.unknown == 0 && total.passed + total.informative > 0 ? 0 : 1;
}
