/* `kedge promote` and `kedge rollback`. */
#include <stdio.h>

#include "daemon/command_store.h"
#include "deploy/rollout.h"
#include "registry/model.h"

extern const Command command_promote, command_rollback;

static void print_change(json_t *change)
{
  json_t *previous = json_object_get(change, "previous");
  printf("%s/%" JSON_INTEGER_FORMAT " is the champion", json_string_value(json_object_get(change, "model")),
         json_integer_value(json_object_get(change, "version")));
  if (json_equal(previous, json_object_get(change, "version")))
    fputs(" as it was", stdout);
  else if (json_is_integer(previous))
    printf(" (before: version %" JSON_INTEGER_FORMAT ")", json_integer_value(previous));
  puts("; the rollout is in the outbox");
}

/* The version that is champion now; 0: none. -1: error. */
static gint64 get_champion(RegistryStore *store, const gchar *model, GError **error)
{
  g_autoptr(GError) failure = NULL;
  gint64 version = registry_alias_get(store, model, DEPLOY_CHAMPION, &failure);
  if (version > 0) return version;
  if (failure == NULL || g_error_matches(failure, REGISTRY_ERROR, REGISTRY_ERROR_NOT_FOUND)) return 0;
  g_propagate_error(error, g_steal_pointer(&failure));
  return -1;
}

static json_t *change_to_json(const gchar *model, gint64 version, gint64 previous, const gchar *reason)
{
  return json_pack("{s:s, s:I, s:o, s:s}", "model", model, "version", (json_int_t)version, "previous",
                   previous > 0 ? json_integer(previous) : json_null(), "reason", reason);
}

static json_t *promote(const CommandCommon *common, const gchar *model, const gchar *text, const gchar *reason,
                       GError **error)
{
  g_autofree gchar *actor = command_get_actor();
  gint64 version = command_parse_version(text, error);
  if (version == 0) return NULL;
  g_autoptr(RegistryStore) store = command_open_store(common, error);
  if (store == NULL) return NULL;
  g_autoptr(RegistryVersion) known = registry_version_get(store, model, version, error);
  if (known == NULL) return NULL;
  gint64 previous = get_champion(store, model, error);
  /* Compare-and-set against what was just read: a promotion by the daemon in between is not overwritten unseen. */
  if (previous < 0 || !deploy_promote(store, model, version, previous, actor, reason, error)) return NULL;
  return change_to_json(model, version, previous, reason);
}

static int run_promote(int argc, char **argv)
{
  gchar *reason = NULL;
  const GOptionEntry entries[] = {{"reason", 0, 0, G_OPTION_ARG_STRING, &reason, "why; kept in the history", "TEXT"},
                                  G_OPTION_ENTRY_NULL};
  CommandCommon common;
  if (!command_parse(&command_promote, &argc, &argv, entries, &common)) return COMMAND_USAGE;
  if (argc != 3 || reason == NULL || *reason == '\0') {
    g_free(reason);
    return command_usage(&common, "NAME, VERSION and --reason TEXT are needed");
  }
  g_autoptr(GError) error = NULL;
  json_t *change = promote(&common, argv[1], argv[2], reason, &error);
  g_free(reason);
  return command_report(&common, change, error, print_change);
}

const Command command_promote = {
    .name = "promote",
    .arguments = "NAME VERSION --reason TEXT",
    .summary = "make a version the champion and roll it out",
    .help = "Fails when somebody else changed the champion at the same moment.\n"
            "\n"
            "--json prints {\"model\", \"version\", \"previous\", \"reason\"}.",
    .run = run_promote,
};

static json_t *rollback(const CommandCommon *common, const gchar *model, const gchar *reason, GError **error)
{
  g_autofree gchar *actor = command_get_actor();
  g_autoptr(RegistryStore) store = command_open_store(common, error);
  if (store == NULL) return NULL;
  gint64 previous = get_champion(store, model, error), version = 0;
  if (previous < 0 || !deploy_rollback(store, model, actor, reason, &version, error)) return NULL;
  return change_to_json(model, version, previous, reason);
}

static int run_rollback(int argc, char **argv)
{
  gchar *reason = NULL;
  const GOptionEntry entries[] = {{"reason", 0, 0, G_OPTION_ARG_STRING, &reason, "why; kept in the history", "TEXT"},
                                  G_OPTION_ENTRY_NULL};
  CommandCommon common;
  if (!command_parse(&command_rollback, &argc, &argv, entries, &common)) return COMMAND_USAGE;
  if (argc != 2) {
    g_free(reason);
    return command_usage(&common, "one NAME is needed");
  }
  g_autoptr(GError) error = NULL;
  json_t *change = rollback(&common, argv[1], reason != NULL ? reason : "rolled back by hand", &error);
  g_free(reason);
  return command_report(&common, change, error, print_change);
}

const Command command_rollback = {
    .name = "rollback",
    .arguments = "NAME [--reason TEXT]",
    .summary = "go back to the champion before the present one and roll it out",
    .help = "--json prints {\"model\", \"version\", \"previous\", \"reason\"}.",
    .run = run_rollback,
};
