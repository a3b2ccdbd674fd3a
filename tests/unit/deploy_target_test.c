/* Targets: what is placed, and that a placement that dies at any step leaves a state that can be served. */
#include <arpa/inet.h>
#include <check.h>
#include <glib/gstdio.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "deploy/target_types.h"

static gchar *root;

static void setup(void)
{
  root = g_dir_make_tmp("kedge-target-XXXXXX", NULL);
  ck_assert_ptr_nonnull(root);
}

static void remove_tree(const gchar *path)
{
  GDir *folder = g_file_test(path, G_FILE_TEST_IS_SYMLINK) ? NULL : g_dir_open(path, 0, NULL);
  for (const gchar *name; folder != NULL && (name = g_dir_read_name(folder)) != NULL;) {
    g_autofree gchar *inner = g_build_filename(path, name, NULL);
    remove_tree(inner);
  }
  if (folder != NULL) g_dir_close(folder);
  g_remove(path);
}

static void teardown(void)
{
  remove_tree(root);
  g_free(root);
}

static const gint64 rows_by_eight[] = {-1, 8}, rows[] = {-1}, rows_by_two[] = {-1, 2};
static const DeployTensor inputs[] = {{"features", "float32", rows_by_eight, 2}};
static const DeployTensor outputs[] = {{"label", "int64", rows, 1}, {"probabilities", "float32", rows_by_two, 2}};

static gboolean place(const gchar *type, gint64 version, const DeploySteps *steps, guint keep, GError **error)
{
  g_autofree gchar *text = g_strdup_printf("model of version %d", (int)version);
  g_autoptr(GBytes) onnx = g_bytes_new(text, strlen(text));
  DeployTargetSettings settings = {.type = type, .path = root, .keep_versions = keep};
  DeployRelease release = {.model = "loan.risk-1",
                           .version = version,
                           .onnx = onnx,
                           .inputs = inputs,
                           .n_inputs = 1,
                           .outputs = outputs,
                           .n_outputs = 2};
  if (steps == NULL) return deploy_target_apply(&settings, &release, error);
  return strcmp(type, "triton") == 0 ? deploy_triton_place(&settings, &release, steps, error)
                                     : deploy_directory_place(&settings, &release, steps, error);
}

static gchar *read_placed(const gchar *name)
{
  g_autofree gchar *path = g_build_filename(root, "loan.risk-1", name, NULL);
  gchar *text = NULL;
  return g_file_get_contents(path, &text, NULL, NULL) ? text : NULL;
}

/* What a poller of the folder sees: names that are whole numbers are versions; "1,2" ascending. Fails when a version
 * is not whole. */
static gchar *served_versions(void)
{
  g_autofree gchar *path = g_build_filename(root, "loan.risk-1", NULL);
  g_autoptr(GString) out = g_string_new(NULL);
  for (int version = 1; version < 20; version++) {
    g_autofree gchar *folder = g_strdup_printf("%s/%d", path, version);
    g_autofree gchar *file = g_strdup_printf("%d/model.onnx", version);
    if (!g_file_test(folder, G_FILE_TEST_IS_DIR)) continue;
    g_autofree gchar *text = read_placed(file);
    g_autofree gchar *whole = g_strdup_printf("model of version %d", version);
    ck_assert_msg(g_strcmp0(text, whole) == 0, "version %d is not whole", version);
    g_string_append_printf(out, "%s%d", out->len > 0 ? "," : "", version);
  }
  return g_string_free(g_steal_pointer(&out), FALSE);
}

static void expect_versions(const char *versions)
{
  g_autofree gchar *present = served_versions();
  ck_assert_str_eq(present, versions);
}

static guint count_temporaries(void)
{
  g_autofree gchar *path = g_build_filename(root, "loan.risk-1", NULL);
  g_autoptr(GDir) folder = g_dir_open(path, 0, NULL);
  guint n = 0;
  for (const gchar *name; folder != NULL && (name = g_dir_read_name(folder)) != NULL;) n += name[0] == '.';
  return n;
}

START_TEST(triton_repository)
{
  ck_assert(place("triton", 1, NULL, 3, NULL));
  g_autofree gchar *config = read_placed("config.pbtxt");
  ck_assert_str_eq(config,
                   "name: \"loan.risk-1\"\n"
                   "platform: \"onnxruntime_onnx\"\n"
                   "max_batch_size: 0\n"
                   "input [\n  {\n    name: \"features\"\n    data_type: TYPE_FP32\n    dims: [ -1, 8 ]\n  }\n]\n"
                   "output [\n  {\n    name: \"label\"\n    data_type: TYPE_INT64\n    dims: [ -1 ]\n  }\n]\n"
                   "output [\n  {\n    name: \"probabilities\"\n    data_type: TYPE_FP32\n    dims: [ -1, 2 ]\n  }\n]\n"
                   "version_policy: { latest: { num_versions: 1 } }\n");
  expect_versions("1");
  ck_assert_uint_eq(count_temporaries(), 0);
}
END_TEST

START_TEST(config_escapes_names_and_refuses_unknown_types)
{
  DeployTensor odd = {"a\"b\\c\n\xc3\xa9", "float32", rows, 1};
  DeployRelease release = {.model = "m", .version = 1, .inputs = &odd, .n_inputs = 1};
  g_autofree gchar *config = deploy_triton_config(&release, NULL);
  ck_assert_ptr_nonnull(strstr(config, "name: \"a\\\"b\\\\c\\012\\303\\251\"\n"));
  g_autoptr(GError) error = NULL;
  odd.type = "complex64";
  ck_assert_ptr_null(deploy_triton_config(&release, &error));
  ck_assert(g_error_matches(error, DEPLOY_ERROR, DEPLOY_ERROR_INVALID));
}
END_TEST

START_TEST(old_versions_go_and_a_rollback_removes_newer_ones)
{
  for (gint64 version = 1; version <= 6; version++) ck_assert(place("triton", version, NULL, 3, NULL));
  expect_versions("3,4,5,6");
  ck_assert(place("triton", 4, NULL, 3, NULL)); /* "latest" would go on serving 6 */
  expect_versions("3,4");
  ck_assert(place("triton", 1, NULL, 0, NULL));
  expect_versions("1");
  ck_assert_uint_eq(count_temporaries(), 0);
}
END_TEST

START_TEST(directory_and_its_link)
{
  for (gint64 version = 1; version <= 4; version++) ck_assert(place("directory", version, NULL, 2, NULL));
  expect_versions("2,3,4");
  g_autofree gchar *current = read_placed("current/model.onnx");
  ck_assert_str_eq(current, "model of version 4");
  ck_assert(place("directory", 2, NULL, 2, NULL));
  g_autofree gchar *back = read_placed("current/model.onnx");
  ck_assert_str_eq(back, "model of version 2");
}
END_TEST

START_TEST(applying_again_changes_nothing_and_repairs_damage)
{
  ck_assert(place("triton", 1, NULL, 3, NULL));
  g_autofree gchar *path = g_build_filename(root, "loan.risk-1", "1", "model.onnx", NULL);
  struct stat former, after;
  ck_assert_int_eq(stat(path, &former), 0);
  ck_assert(place("triton", 1, NULL, 3, NULL));
  ck_assert_int_eq(stat(path, &after), 0);
  ck_assert(former.st_ino == after.st_ino);
  ck_assert(g_file_set_contents(path, "model of version X", -1, NULL));
  ck_assert(place("triton", 1, NULL, 3, NULL));
  expect_versions("1");
}
END_TEST

START_TEST(files_can_be_read_under_a_strict_umask)
{
  mode_t former = umask(0077);
  ck_assert(place("triton", 1, NULL, 3, NULL));
  umask(former);
  g_autofree gchar *folder = g_build_filename(root, "loan.risk-1", "1", NULL);
  g_autofree gchar *file = g_build_filename(folder, "model.onnx", NULL);
  struct stat status;
  ck_assert(stat(folder, &status) == 0 && (status.st_mode & 0777) == 0755);
  ck_assert(stat(file, &status) == 0 && (status.st_mode & 0777) == 0644);
}
END_TEST

/* --- death at every step ---------------------------------------------------------------------------------------- */

typedef struct {
  guint left;
} Fuse;

static gboolean burn(const gchar *step, gpointer user_data)
{
  Fuse *fuse = user_data;
  ck_assert_ptr_nonnull(step);
  if (fuse->left == 0) return FALSE;
  fuse->left--;
  return TRUE;
}

/* From `before` to `after`: whatever step the placement of `version` dies at, a poller sees whole versions and can
 * serve the old or the new one; applying again then gives exactly what an unbroken run gives. */
static void die_everywhere(const gchar *type, gint64 former, gint64 version)
{
  g_autofree gchar *expected = NULL;
  guint steps = 0;
  for (gboolean finished = FALSE; !finished; steps++) {
    teardown();
    setup();
    for (gint64 v = 1; v <= former; v++) ck_assert(place(type, v, NULL, 2, NULL));
    Fuse fuse = {.left = steps};
    DeploySteps hook = {.before = burn, .user_data = &fuse};
    g_autoptr(GError) error = NULL;
    finished = place(type, version, &hook, 2, &error);
    ck_assert_msg(finished || strstr(error->message, "stopped before step") != NULL, "%s", error->message);
    g_autofree gchar *seen = served_versions();
    g_autofree gchar *number = g_strdup_printf("%d", (int)(former > 0 ? former : version));
    ck_assert_msg(former == 0 || strstr(seen, number) != NULL || version <= former, "nothing to serve: \"%s\"", seen);
    if (former > 0) ck_assert_str_ne(seen, "");
    if (strcmp(type, "triton") == 0 && seen[0] != '\0') {
      g_autofree gchar *config = read_placed("config.pbtxt"); /* a version is never there without it */
      ck_assert_ptr_nonnull(config);
    }
    if (former > 0 && strcmp(type, "directory") == 0) {
      g_autofree gchar *current = read_placed("current/model.onnx");
      ck_assert_ptr_nonnull(current);
    }
    ck_assert(place(type, version, NULL, 2, NULL));
    g_autofree gchar *after = served_versions();
    if (expected == NULL) expected = g_strdup(after);
    ck_assert_str_eq(after, expected);
    ck_assert_uint_eq(count_temporaries(), 0);
  }
  ck_assert_uint_ge(steps, 5);
}

START_TEST(death_at_every_step)
{
  static const gchar *const types[] = {"triton", "directory"};
  for (guint i = 0; i < G_N_ELEMENTS(types); i++) {
    die_everywhere(types[i], 0, 1); /* first */
    die_everywhere(types[i], 5, 6); /* forward, with pruning */
    die_everywhere(types[i], 5, 4); /* back */
  }
}
END_TEST

/* --- refusals ----------------------------------------------------------------------------------------------------- */

START_TEST(names_never_leave_the_root)
{
  static const gchar *const bad[] = {"", "..", "../x", "a/b", ".hidden", "a b", "-x"};
  g_autoptr(GBytes) onnx = g_bytes_new_static("x", 1);
  for (guint i = 0; i < G_N_ELEMENTS(bad); i++) {
    DeployTargetSettings settings = {.type = "triton", .path = root};
    DeployRelease release = {.model = bad[i], .version = 1, .onnx = onnx};
    g_autoptr(GError) error = NULL;
    ck_assert(!deploy_target_apply(&settings, &release, &error));
    ck_assert(g_error_matches(error, DEPLOY_ERROR, DEPLOY_ERROR_INVALID));
  }
}
END_TEST

START_TEST(links_below_the_root_are_not_followed)
{
  g_autofree gchar *outside = g_dir_make_tmp("kedge-outside-XXXXXX", NULL);
  g_autofree gchar *link = g_build_filename(root, "loan.risk-1", NULL);
  ck_assert_int_eq(symlink(outside, link), 0);
  g_autoptr(GError) error = NULL;
  ck_assert(!place("triton", 1, NULL, 3, &error));
  ck_assert_msg(strstr(error->message, "symbolic links") != NULL, "%s", error->message);
  ck_assert_int_eq(g_rmdir(outside), 0); /* nothing was put there */
}
END_TEST

START_TEST(unknown_type_and_missing_parent_are_explained)
{
  g_autoptr(GError) error = NULL;
  ck_assert(!place("tritton", 1, NULL, 3, &error));
  ck_assert_ptr_nonnull(strstr(error->message, "known are: directory, triton"));
  g_clear_error(&error);
  g_autoptr(GBytes) onnx = g_bytes_new_static("x", 1);
  DeployTargetSettings settings = {.type = "directory", .path = "/nonexistent/kedge/models"};
  DeployRelease release = {.model = "m", .version = 1, .onnx = onnx};
  ck_assert(!deploy_target_apply(&settings, &release, &error));
  ck_assert_ptr_nonnull(strstr(error->message, "/nonexistent/kedge/models"));
}
END_TEST

/* --- the load call ------------------------------------------------------------------------------------------------ */

typedef struct {
  int listener;
  const gchar *answer;
  GString *request;
} Server;

static gpointer serve(gpointer data)
{
  Server *server = data;
  int peer = accept(server->listener, NULL, NULL);
  char buffer[4096];
  while (strstr(server->request->str, "\r\n\r\n{}") == NULL) {
    ssize_t got = read(peer, buffer, sizeof buffer);
    if (got <= 0) break;
    g_string_append_len(server->request, buffer, got);
  }
  if (write(peer, server->answer, strlen(server->answer)) < 0) g_string_truncate(server->request, 0);
  close(peer);
  return NULL;
}

static gboolean load(const gchar *answer, gchar **request, GError **error)
{
  Server server = {.answer = answer, .request = g_string_new(NULL), .listener = socket(AF_INET, SOCK_STREAM, 0)};
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  socklen_t length = sizeof address;
  ck_assert(bind(server.listener, (struct sockaddr *)&address, length) == 0 && listen(server.listener, 1) == 0);
  ck_assert_int_eq(getsockname(server.listener, (struct sockaddr *)&address, &length), 0);
  GThread *thread = g_thread_new("server", serve, &server);
  g_autofree gchar *url = g_strdup_printf("http://127.0.0.1:%u/", ntohs(address.sin_port));
  DeployTargetSettings settings = {.type = "triton", .path = root, .url = url};
  gboolean loaded = deploy_load_call(&settings, "loan.risk-1", error);
  g_thread_join(thread);
  close(server.listener);
  *request = g_string_free(server.request, FALSE);
  return loaded;
}

START_TEST(load_call)
{
  g_autofree gchar *request = NULL, *second = NULL;
  g_autoptr(GError) error = NULL;
  ck_assert(load("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", &request, &error));
  ck_assert_ptr_nonnull(strstr(request, "POST /v2/repository/models/loan.risk-1/load HTTP/1.1\r\n"));
  ck_assert(!load("HTTP/1.1 400 Bad\r\nConnection: close\r\n\r\n{\"error\": \"no \\u0007 model\"}", &second, &error));
  ck_assert_msg(strstr(error->message, "HTTP status 400 (no ? model)") != NULL, "%s", error->message);
}
END_TEST

int main(void)
{
  Suite *suite = suite_create("deploy_target");
  TCase *tests = tcase_create("targets");
  tcase_set_timeout(tests, 120); /* many fsyncs: slow disks */
  tcase_add_checked_fixture(tests, setup, teardown);
  tcase_add_test(tests, triton_repository);
  tcase_add_test(tests, config_escapes_names_and_refuses_unknown_types);
  tcase_add_test(tests, old_versions_go_and_a_rollback_removes_newer_ones);
  tcase_add_test(tests, directory_and_its_link);
  tcase_add_test(tests, applying_again_changes_nothing_and_repairs_damage);
  tcase_add_test(tests, files_can_be_read_under_a_strict_umask);
  tcase_add_test(tests, death_at_every_step);
  tcase_add_test(tests, names_never_leave_the_root);
  tcase_add_test(tests, links_below_the_root_are_not_followed);
  tcase_add_test(tests, unknown_type_and_missing_parent_are_explained);
  tcase_add_test(tests, load_call);
  suite_add_tcase(suite, tests);
  SRunner *runner = srunner_create(suite);
  srunner_run_all(runner, CK_NORMAL);
  int failed = srunner_ntests_failed(runner);
  srunner_free(runner);
  return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
