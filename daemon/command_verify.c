/* `kedge verify`. */
#include <stdio.h>

#include "daemon/command_store.h"
#include "registry/audit.h"

extern const Command command_verify;

static json_t *verify(const CommandCommon *common, GError **error)
{
  g_autoptr(RegistryStore) store = command_open_store(common, error);
  g_autoptr(RegistryArtifacts) artifacts = store != NULL ? command_open_artifacts(common, error) : NULL;
  if (artifacts == NULL) return NULL;
  g_autoptr(GPtrArray) findings = g_ptr_array_new_with_free_func(g_free);
  guint64 checked = 0;
  if (!registry_verify(store, artifacts, findings, &checked, error)) return NULL;
  json_t *list = json_array();
  for (guint i = 0; i < findings->len; i++) json_array_append_new(list, json_string(g_ptr_array_index(findings, i)));
  return json_pack("{s:I, s:o}", "checked", (json_int_t)checked, "findings", list);
}

static void print_findings(json_t *out)
{
  json_t *findings = json_object_get(out, "findings");
  g_autofree gchar *checked = command_text_count(json_object_get(out, "checked"));
  gsize i;
  json_t *finding;
  json_array_foreach (findings, i, finding) puts(json_string_value(finding));
  if (json_array_size(findings) == 0)
    printf("%s records and files checked: all as they were written\n", checked);
  else
    printf("%s records and files checked: %" G_GSIZE_FORMAT " finding(s)\n", checked, json_array_size(findings));
}

static int run_verify(int argc, char **argv)
{
  CommandCommon common;
  if (!command_parse(&command_verify, &argc, &argv, NULL, &common)) return COMMAND_USAGE;
  if (argc != 1) return command_usage(&common, "no argument is taken");
  g_autoptr(GError) error = NULL;
  json_t *out = verify(&common, &error);
  gboolean clean = json_array_size(json_object_get(out, "findings")) == 0;
  int status = command_report(&common, out, error, print_findings);
  return status == COMMAND_DONE && !clean ? COMMAND_NO : status;
}

const Command command_verify = {
    .name = "verify",
    .arguments = "",
    .summary = "check the audit chain, versions, segments and artifacts byte by byte",
    .help = "Exit status 3 when anything differs from what was written.\n"
            "\n"
            "--json prints {\"checked\", \"findings\": [text]}.",
    .run = run_verify,
};
