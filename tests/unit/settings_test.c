/* Settings: defaults, every complaint with its line, the shipped examples, the documentation. */
#include "daemon/settings_internal.h"

#include <check.h>
#include <string.h>

#include "daemon/stage_check.h"
#include "drift/bias.h"

#define MODEL "models:\n- name: m\n  traffic:\n    topic: t\n"

static Settings *parse(const gchar *text, GError **error)
{
  return settings_parse_with("k.yaml", text, strlen(text), stage_check, error);
}

START_TEST(defaults_are_those_of_the_header)
{
  g_autoptr(GError) error = NULL;
  g_autoptr(Settings) settings = parse(MODEL, &error);
  ck_assert_msg(settings != NULL, "%s", error != NULL ? error->message : "");
  ck_assert_str_eq(settings->path, "k.yaml");
  ck_assert_str_eq(settings->store, "sqlite:/var/lib/kedge/kedge.db");
  ck_assert_str_eq(settings->broker.source, "kafka");
  ck_assert_str_eq(settings->broker.brokers, "127.0.0.1:9092");
  ck_assert_str_eq(settings->broker.group, "kedge");
  ck_assert_ptr_nonnull(settings->broker.properties);
  ck_assert_ptr_null(settings->broker.properties[0]);
  ck_assert_uint_eq(settings->broker.queue_kilobytes, 16384);
  ck_assert_uint_eq(settings->broker.session_timeout_ms, 10000);
  ck_assert_str_eq(settings->http.listen, "127.0.0.1:9464");
  ck_assert_str_eq(settings->http.socket, "/run/kedge/kedge.sock");
  ck_assert_uint_eq(settings->checkpoint.events, 20000);
  ck_assert_uint_eq(settings->checkpoint.milliseconds, 1000);
  ck_assert_uint_eq(settings->leader.lease_ms, 10000);
  ck_assert_uint_eq(settings->worker.lost_ms, 30000);
  const SettingsModel *model = settings_find_model(settings, "m");
  ck_assert_ptr_eq(model, settings->models);
  ck_assert_ptr_null(settings_find_model(settings, "other"));
  ck_assert_str_eq(model->traffic.format, "json");
  ck_assert_str_eq(model->traffic.start, "earliest");
  ck_assert_str_eq(model->traffic.fields.time, "ts");
  ck_assert_str_eq(model->traffic.fields.latency, "latency_ms");
  ck_assert_int_eq(model->traffic.late_ms, 3600000);
  ck_assert_str_eq(model->traffic.only_model, "");
  ck_assert_str_eq(model->labels.topic, "");
  ck_assert_int_eq(model->labels.wait_ms, 604800000);
  ck_assert_double_eq(model->labels.sample, 1);
  ck_assert_str_eq(model->dead_letter_topic, "kedge.dead-letter.m");
  ck_assert_uint_eq(model->window.events, 1000);
  ck_assert_uint_eq(model->window.pane_events, 100);
  ck_assert_uint_eq(model->window.label_rows, 100);
  ck_assert_int_eq(model->alarm.per_rows, 100000);
  ck_assert_double_eq(model->alarm.minimum_effect, .1);
  for (guint i = 0; i < 3; i++) ck_assert_str_eq(model->alarm.bias_metrics[i], drift_bias_metrics[i].name);
  ck_assert_ptr_null(model->alarm.bias_metrics[3]);
  ck_assert_uint_eq(model->alarm.bias_crossed, 1);
  ck_assert_str_eq(model->policy.act_on[0], "performance");
  ck_assert_ptr_null(model->policy.act_on[1]);
  ck_assert(model->policy.retrain);
  ck_assert_uint_eq(model->policy.pool, 12);
  ck_assert_str_eq(model->policy.architecture, "auto");
  ck_assert_uint_eq(model->policy.processes, 1);
  ck_assert_uint_eq(model->policy.seed, 1);
  ck_assert(model->rollout.automatic);
  ck_assert_uint_eq(model->rollout.watch_rows, 1000);
}
END_TEST

/* A mixture's label panes are short unless the file says otherwise. */
START_TEST(label_panes_follow_the_mode)
{
  const struct {
    const gchar *more;
    guint rows;
  } cases[] = {{"", 100},
               {"    policy: {retrain_mode: fine-tune}\n", 100},
               {"    policy: {retrain_mode: mixture}\n", 20},
               {"    policy: {retrain_mode: mixture}\n    window: {label_rows: 100}\n", 100}};
  for (guint i = 0; i < G_N_ELEMENTS(cases); i++) {
    g_autofree gchar *text =
        g_strconcat("store: sqlite:k.db\nmodels:\n  - name: m\n    traffic: {topic: t}\n", cases[i].more, NULL);
    g_autoptr(GError) error = NULL;
    g_autoptr(Settings) settings = settings_parse("k.yaml", text, strlen(text), &error);
    ck_assert_msg(settings != NULL, "%s", error ? error->message : "");
    ck_assert_uint_eq(settings->models[0].window.label_rows, cases[i].rows);
  }
}
END_TEST

/* The names the file may hold are those of the table that measures. */
START_TEST(every_bias_metric_can_be_chosen)
{
  g_autoptr(GString) text =
      g_string_new("store: sqlite:k.db\nmodels:\n  - name: m\n    traffic: {topic: t}\n    alarm: "
                   "{bias_metrics: [");
  guint n = 0;
  for (; drift_bias_metrics[n].name != NULL; n++)
    g_string_append_printf(text, "%s%s", n > 0 ? ", " : "", drift_bias_metrics[n].name);
  g_string_append(text, "]}\n");
  g_autoptr(GError) error = NULL;
  g_autoptr(Settings) settings = settings_parse("k.yaml", text->str, text->len, &error);
  ck_assert_msg(settings != NULL, "%s", error ? error->message : "");
  ck_assert_uint_eq(g_strv_length(settings->models[0].alarm.bias_metrics), n);
}
END_TEST

START_TEST(values_reach_their_places)
{
  g_autoptr(GError) error = NULL;
  g_autoptr(Settings) settings = parse("# a comment\n"
                                       "broker: {source: file, directory: /tmp/x, properties: [a.b=c=d, e=f]}\n"
                                       "models:\n"
                                       "  - name: a\n"
                                       "    traffic: {topic: t, fields: {features: ''}}\n"
                                       "    policy: {act_on: [], seed: 18446744073709551615, retrain: false}\n"
                                       "    rollout: {promote: manual}\n"
                                       "    window: {events: 5}\n"
                                       "    labels:\n"
                                       "  - name: b\n"
                                       "    traffic:\n"
                                       "      topic: t\n"
                                       "    dead_letter_topic: dead\n"
                                       "    targets:\n"
                                       "      - {type: triton, path: /x}\n"
                                       "      - {type: directory, path: /y, keep_versions: 7}\n"
                                       "webhooks:\n"
                                       "- {name: w, url: 'https://h/', secret_file: /s}\n",
                                       &error);
  ck_assert_msg(settings != NULL, "%s", error != NULL ? error->message : "");
  ck_assert_uint_eq(settings->n_models, 2);
  ck_assert_str_eq(settings->broker.properties[0], "a.b=c=d");
  ck_assert_str_eq(settings->broker.properties[1], "e=f");
  ck_assert_str_eq(settings->models[0].traffic.fields.features, "");
  ck_assert_ptr_nonnull(settings->models[0].policy.act_on);
  ck_assert_ptr_null(settings->models[0].policy.act_on[0]);
  ck_assert(settings->models[0].policy.seed == G_MAXUINT64);
  ck_assert(!settings->models[0].policy.retrain);
  ck_assert(!settings->models[0].rollout.automatic);
  ck_assert_uint_eq(settings->models[0].window.pane_events, 1);
  ck_assert_str_eq(settings->models[1].dead_letter_topic, "dead");
  ck_assert_uint_eq(settings->models[1].n_targets, 2);
  ck_assert_uint_eq(settings->models[1].targets[0].keep_versions, 3);
  ck_assert_uint_eq(settings->models[1].targets[1].keep_versions, 7);
  ck_assert_uint_eq(settings->webhooks[0].timeout_ms, 10000);
  Settings *again = settings_ref(settings);
  settings_unref(again);
  ck_assert_str_eq(settings->models[1].name, "b");
}
END_TEST

static const struct {
  const gchar *text, *begins, *mentions;
} refusals[] = {
    {"stor: x\n", "k.yaml:1: stor: ", "no such option"},
    {MODEL "  window:\n    events: 10\n    # here\n    pane: 3\n",
     "k.yaml:8: models[0].window.pane: ", "no such option"},
    {MODEL "  window: {events: 10,\n    pane: 3}\n", "k.yaml:6: models[0].window.pane: ", "no such option"},
    {MODEL "- name: n\n  traffic: {topic: u, fields: {ids: x}}\n",
     "k.yaml:6: models[1].traffic.fields.ids: ", "no such"},
    {"checkpoint:\n  events: 12abc\n", "k.yaml:2: checkpoint.events: ", "'12abc' is not a whole number"},
    {"checkpoint:\n  events: 0x10\n", "k.yaml:2: checkpoint.events: ", "not a whole number"},
    {"checkpoint:\n  events:\n", "k.yaml:2: checkpoint.events: ", "not a whole number"},
    {"checkpoint:\n  events: [1]\n", "k.yaml:2: ", "Expecting STRING"},
    {"checkpoint: 3\n", "k.yaml:1: ", "Expecting MAPPING"},
    {"\n\ncheckpoint:\n  events: 0\n", "k.yaml:4: checkpoint.events: ", "between 1 and 10000000 events"},
    {"checkpoint:\n  events: -3\n", "k.yaml:2: checkpoint.events: ", "between"},
    {"checkpoint:\n  events: 99999999999999999999\n", "k.yaml:2: ", "not a whole number"},
    {"single_host: maybe\n", "k.yaml:1: single_host: ", "neither true nor false"},
    {MODEL "  labels:\n    sample: 1.5\n", "k.yaml:6: models[0].labels.sample: ", "between 0 and 1"},
    {MODEL "  labels:\n    sample: nan\n", "k.yaml:6: models[0].labels.sample: ", "'nan' is not a number"},
    {MODEL "  labels:\n    topic: t\n", "k.yaml:6: models[0].labels.topic: ", "already this model's traffic.topic"},
    {MODEL "  policy:\n    processes: 0\n", "k.yaml:6: models[0].policy.processes: ", "between 1 and 256"},
    {MODEL "  policy:\n    processes: 257\n", "k.yaml:6: models[0].policy.processes: ", "between 1 and 256"},
    {MODEL "  policy:\n    seed: -1\n", "k.yaml:6: models[0].policy.seed: ", "not a whole number"},
    {MODEL "  policy:\n    act_on:\n    - drift\n    - luck\n",
     "k.yaml:8: models[0].policy.act_on[1]: ", "'luck' is not one of: performance, drift, bias, quality"},
    {MODEL "  policy:\n    chain: [retrain, polish]\n",
     "k.yaml:6: models[0].policy.chain[1]: ", "'polish' is not one of: retrain, search, harden, compress, attack"},
    {MODEL "  policy:\n    chain:\n    - harden\n",
     "k.yaml:7: models[0].policy.chain[0]: ", "begins with retrain or search"},
    {MODEL "  policy:\n    chain:\n    - retrain\n    - search\n",
     "k.yaml:8: models[0].policy.chain[1]: ", "only be the first"},
    {MODEL "  policy:\n    compress: {int8: true}\n    harden: pgd\n    chain:\n    - retrain\n    - compress\n    - "
           "harden\n",
     "k.yaml:11: models[0].policy.chain[2]: ", "harden cannot stand behind compress"},
    {MODEL "  policy:\n    chain:\n    - retrain\n    - harden\n",
     "k.yaml:8: models[0].policy.chain[1]: ", "write policy.harden"},
    {MODEL "  policy:\n    harden: pgd\n    chain:\n    - retrain\n    - harden\n",
     "k.yaml:9: models[0].policy.chain[1]: ", "adversarial_epsilon: 0.1"},
    {MODEL "  policy:\n    chain: [retrain,\n      compress]\n",
     "k.yaml:7: models[0].policy.chain[1]: ", "needs to know how"},
    {MODEL "  policy:\n    chain: [search]\n", "k.yaml:6: models[0].policy.chain[0]: ", "needs a budget"},
    {MODEL "  policy:\n    chain: [search]\n    search:\n      trials: 3\n      space: clouds\n",
     "k.yaml:7: models[0].policy.search: ", "clouds"},
    {MODEL "  policy:\n    chain: [search, harden]\n    harden: pgd\n    adversarial_epsilon: 0.1\n    search:\n      "
           "trials: 3\n      ensemble: 0\n",
     "k.yaml:6: models[0].policy.chain[0]: ",
     "a mean of several trials cannot be hardened: write policy.search.ensemble: 1"},
    {MODEL "  policy:\n    chain: [search, compress]\n    compress: {prune: 0.5}\n    search:\n      trials: 3\n      "
           "ensemble: 3\n",
     "k.yaml:6: models[0].policy.chain[0]: ",
     "a mean of several trials cannot be pruned: write policy.search.ensemble: 1"},
    {MODEL "  policy:\n    chain: [search]\n    search:\n      trials: 3\n      ensemble: 101\n",
     "k.yaml:9: models[0].policy.search.ensemble: ", "between 0 and 100"},
    {MODEL "  policy:\n    chain: [retrain, attack]\n", "k.yaml:6: models[0].policy.chain[1]: ", "radius above 0"},
    {MODEL "  policy:\n    compress:\n      int8: true\n",
     "k.yaml:6: models[0].policy.compress: ", "means nothing without the stage"},
    {MODEL "  policy:\n    retrain_mode: mixture\n    compress: {int8: true}\n    chain: [retrain, compress]\n",
     "k.yaml:8: models[0].policy.chain: ", "retrain_mode: mixture"},
    {MODEL "  policy:\n    chain: [retrain, compress, attack]\n    compress: {int8: true}\n    attack: {attacks: "
           "[pgd], epsilon: 1}\n",
     "k.yaml:8: models[0].policy.attack.attacks: ", "8-bit models have no gradients"},
    {MODEL
     "  policy:\n    chain: [retrain, compress]\n    compress: {int8: true}\n  gate: {robust_accuracy_bound: 0.5}\n",
     "k.yaml:6: models[0].policy.chain: ", "add the stage attack"},
    {MODEL "  rollout:\n    promote: never\n", "k.yaml:6: models[0].rollout.promote: ", "not one of: manual, auto"},
    {"broker:\n  source: pulsar\n", "k.yaml:2: broker.source: ", "not one of: kafka, file"},
    {"models:\n- name: m\n", "k.yaml:2: models[0].traffic.topic: ", "is missing"},
    {"models:\n- traffic:\n    topic: t\n", "k.yaml:2: models[0].name: ", "is missing"},
    {MODEL MODEL, "k.yaml:5: models", "written twice"},
    {MODEL "- name: m\n  traffic:\n    topic: u\n", "k.yaml:5: models[1].name: ", "name of an earlier model"},
    {"models:\n- name: ../m\n  traffic:\n    topic: t\n", "k.yaml:2: models[0].name: ", "is not a name"},
    {"models:\n- name: m\n  traffic:\n    topic: a/b\n", "k.yaml:4: models[0].traffic.topic: ", "not a topic name"},
    {MODEL "  window:\n    events: 0\n", "k.yaml:5: models[0].window.duration_ms: ", "needs a length"},
    {MODEL "  window:\n    slide_events: 2000\n",
     "k.yaml:6: models[0].window.slide_events: ", "longer than the window"},
    {MODEL "  targets:\n  - {type: ftp, path: /x}\n", "k.yaml:6: models[0].targets[0].type: ", "not one of"},
    {MODEL "  targets:\n  - {type: triton, path: x}\n", "k.yaml:6: models[0].targets[0].path: ", "absolute"},
    {"http:\n  listen: 0.0.0.0:9464\n", "k.yaml:2: http.listen: ", "not a loopback address"},
    {"http:\n  listen: '[::]:9464'\n", "k.yaml:2: http.listen: ", "not a loopback address"},
    {"http:\n  listen: example.net:9464\n", "k.yaml:2: http.listen: ", "not a loopback address"},
    {"http:\n  listen: 9464\n", "k.yaml:2: http.listen: ", "not ADDRESS:PORT"},
    {"store: mysql:x\n", "k.yaml:1: store: ", "neither sqlite:PATH nor postgresql:"},
    {"store: postgresql://h/d\nartifacts: /a\n", "k.yaml:2: artifacts: ", "artifacts_shared: true"},
    {"\nstore: postgresql://h/d\n", "k.yaml:2: store: ", "single_host: true"},
    {"broker:\n  properties:\n  - enable.auto.commit=true\n", "k.yaml:3: broker.properties[0]: ", "cannot be set"},
    {"broker:\n  properties:\n  - ssl\n", "k.yaml:3: broker.properties[0]: ", "not key=value"},
    {"worker:\n  lost_ms: 5000\n", "k.yaml:2: worker.lost_ms: ", "two heartbeats"},
    {"webhooks:\n- name: w\n  url: http://h/\n  secret_file: /s\n", "k.yaml:3: webhooks[0].url: ", "https://"},
    {"store: &a x\nartifacts: *a\n", "k.yaml:2: ", "aliases"},
    {"store: x\n---\nstore: y\n", "k.yaml:2: ", "second document"},
    {"store: [\n", "k.yaml:2: ", "not YAML"},
    {"store: \"a\n", "k.yaml:", "not YAML"},
    {"- store\n", "k.yaml:1: ", "Expecting MAPPING"},
    {"just words\n", "k.yaml:1: ", "bare text"},
    {"? [a]\n: b\n", "k.yaml:1: ", "cannot be a key"},
    {"store: \"a\\tb\"\n", "k.yaml:1: store: ", "control character"},
};

START_TEST(refusals_name_the_line)
{
  g_autoptr(GError) error = NULL;
  Settings *settings = parse(refusals[_i].text, &error);
  ck_assert_msg(settings == NULL, "accepted: %s", refusals[_i].text);
  ck_assert(g_error_matches(error, DAEMON_ERROR, DAEMON_ERROR_SETTINGS));
  ck_assert_msg(g_str_has_prefix(error->message, refusals[_i].begins), "%s, not %s", error->message,
                refusals[_i].begins);
  ck_assert_msg(strstr(error->message, refusals[_i].mentions) != NULL, "%s lacks %s", error->message,
                refusals[_i].mentions);
}
END_TEST

START_TEST(accepts_what_is_safe)
{
  static const gchar *const texts[] = {"",
                                       "# nothing\n",
                                       "http: {listen: ''}\n",
                                       "http: {listen: '[::1]:1'}\n",
                                       "http: {listen: 'localhost:1'}\n",
                                       "http: {listen: '127.9.9.9:0'}\n",
                                       "store: postgresql://h/d\nsingle_host: true\n",
                                       "store: postgresql://h/d\nartifacts_shared: true\n",
                                       "store: 'postgresql:host=/run dbname=d'\nsingle_host: true\n",
                                       "models:\n"};
  for (guint i = 0; i < G_N_ELEMENTS(texts); i++) {
    g_autoptr(GError) error = NULL;
    g_autoptr(Settings) settings = parse(texts[i], &error);
    ck_assert_msg(settings != NULL, "%s: %s", texts[i], error != NULL ? error->message : "");
  }
}
END_TEST

START_TEST(hostile_files_are_refused_quickly)
{
  GString *text = g_string_new("store: ");
  for (guint i = 0; i < 50000; i++) g_string_append_c(text, '[');
  g_autoptr(GError) error = NULL;
  ck_assert_ptr_null(settings_parse("k.yaml", text->str, text->len, &error));
  ck_assert_ptr_nonnull(strstr(error->message, "levels of nesting"));
  g_clear_error(&error);
  g_string_set_size(text, (1 << 20) + 1);
  ck_assert_ptr_null(settings_parse("k.yaml", text->str, text->len, &error));
  ck_assert_ptr_nonnull(strstr(error->message, "1 MiB"));
  g_string_free(text, TRUE);
  g_clear_error(&error);
  ck_assert_ptr_null(settings_load("/no/such/file.yaml", &error));
  ck_assert_ptr_nonnull(strstr(error->message, "/no/such/file.yaml: cannot be read"));
  g_clear_error(&error);
  ck_assert_ptr_null(settings_load("/", &error));
  g_clear_error(&error);
  ck_assert_ptr_null(settings_parse("k.yaml", "store: \"a\0b\"", 12, &error));
}
END_TEST

START_TEST(examples_load)
{
  static const gchar *const paths[] = {"deploy/examples/embedded.yaml", "deploy/examples/production.yaml",
                                       "deploy/examples/chain.yaml"};
  for (guint i = 0; i < G_N_ELEMENTS(paths); i++) {
    g_autoptr(GError) error = NULL;
    g_autoptr(Settings) settings = settings_load(paths[i], &error);
    ck_assert_msg(settings != NULL, "%s", error != NULL ? error->message : "");
    ck_assert_uint_eq(settings->n_models, 1);
  }
}
END_TEST

START_TEST(shown_settings_load_again)
{
  g_autoptr(GError) error = NULL;
  g_autoptr(Settings) settings = settings_load("deploy/examples/production.yaml", &error);
  ck_assert_msg(settings != NULL, "%s", error != NULL ? error->message : "");
  g_autofree gchar *shown = settings_to_yaml(settings);
  g_autoptr(Settings) again = settings_parse("shown", shown, strlen(shown), &error);
  ck_assert_msg(again != NULL, "%s\n%s", error != NULL ? error->message : "", shown);
  g_autofree gchar *shown_again = settings_to_yaml(again);
  ck_assert_str_eq(shown, shown_again);
}
END_TEST

START_TEST(secrets_are_masked)
{
  g_autoptr(GError) error = NULL;
  g_autoptr(Settings) settings =
      parse("store: postgresql://u:canary1@h/d?password=canary2&x=y\nsingle_host: true\n"
            "broker: {properties: [sasl.password=canary3, ssl.key.pem=canary4, client.id=me]}\n",
            &error);
  ck_assert_msg(settings != NULL, "%s", error != NULL ? error->message : "");
  g_autofree gchar *shown = settings_to_yaml(settings);
  ck_assert_ptr_null(strstr(shown, "canary"));
  ck_assert_ptr_nonnull(strstr(shown, "client.id=me"));
  ck_assert_ptr_nonnull(strstr(shown, "postgresql://u:***@h/d?password=***&x=y"));
  g_autoptr(Settings) pairs = parse(
      "store: \"postgresql:password=canary1 host=h password = 'canary2 \\\\' canary3' user=u\"\nsingle_host: true\n",
      &error);
  ck_assert_msg(pairs != NULL, "%s", error != NULL ? error->message : "");
  g_autofree gchar *pairs_shown = settings_to_yaml(pairs);
  ck_assert_ptr_null(strstr(pairs_shown, "canary"));
  ck_assert_ptr_nonnull(strstr(pairs_shown, "postgresql:password=*** host=h password = *** user=u"));
}
END_TEST

static void check_documented(const SettingsOption *options, const gchar *markdown, const gchar *man, guint *n)
{
  for (; options->key != NULL; options++) {
    ck_assert_msg(options->help != NULL && strlen(options->help) >= 15 && g_str_has_suffix(options->help, "."),
                  "%s has no help, or it is no sentence", options->key);
    ck_assert_ptr_nonnull(strstr(markdown, options->help));
    ck_assert_ptr_nonnull(strstr(man, options->key));
    gboolean is_number = options->kind >= SETTINGS_UINT && options->kind <= SETTINGS_DOUBLE;
    ck_assert_msg(!is_number || options->maximum > options->minimum, "%s has no range", options->key);
    gboolean has_default = options->required || options->fallback != NULL || options->computed != NULL;
    ck_assert_msg(options->section != NULL || has_default, "%s says nothing of its default", options->key);
    gboolean timed = g_str_has_suffix(options->key, "_ms") && options->kind != SETTINGS_TEXT;
    ck_assert_msg(!timed || g_strcmp0(options->unit, "ms") == 0, "%s has no unit", options->key);
    (*n)++;
    if (options->section != NULL) check_documented(options->section, markdown, man, n);
  }
}

START_TEST(every_option_is_documented)
{
  g_autofree gchar *markdown = settings_document_markdown(), *man = settings_document_man();
  guint n = 0;
  check_documented(settings_options, markdown, man, &n);
  ck_assert_uint_gt(n, 80);
  ck_assert_ptr_nonnull(
      strstr(markdown, "* `models[].window.events` (whole number, events, 0 to 1000000000; default 1000)"));
}
END_TEST

int main(void)
{
  Suite *suite = suite_create("settings");
  TCase *group = tcase_create("all");
  tcase_add_test(group, defaults_are_those_of_the_header);
  tcase_add_test(group, label_panes_follow_the_mode);
  tcase_add_test(group, every_bias_metric_can_be_chosen);
  tcase_add_test(group, values_reach_their_places);
  tcase_add_loop_test(group, refusals_name_the_line, 0, G_N_ELEMENTS(refusals));
  tcase_add_test(group, accepts_what_is_safe);
  tcase_add_test(group, hostile_files_are_refused_quickly);
  tcase_add_test(group, examples_load);
  tcase_add_test(group, shown_settings_load_again);
  tcase_add_test(group, secrets_are_masked);
  tcase_add_test(group, every_option_is_documented);
  suite_add_tcase(suite, group);
  SRunner *runner = srunner_create(suite);
  srunner_run_all(runner, CK_NORMAL);
  int failed = srunner_ntests_failed(runner);
  srunner_free(runner);
  return failed == 0 ? 0 : 1;
}
