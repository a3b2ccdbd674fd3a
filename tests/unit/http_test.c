/* Guards and routes without a wire, then the wire itself by raw sockets. */
#include <arpa/inet.h>
#include <check.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <glib/gstdio.h>

#include "daemon/http.h"
#include "daemon/http_internal.h"

/* --- guards and routes ------------------------------------------------------------------------------------------- */

typedef struct {
  const gchar *method, *target;
  const gchar *headers[8][2]; /* ends with NULL */
  guint status;
} Case;

#define HOST                                                                                                           \
  {                                                                                                                    \
    "Host", "localhost:9464"                                                                                           \
  }

static const Case cases[] = {
    {"GET", "/healthz", {HOST}, 200},
    {"HEAD", "/healthz", {HOST}, 200},
    {"GET", "/healthz?x=1", {HOST}, 200},
    {"GET", "/nothing", {HOST}, 404},
    {"GET", "/HEALTHZ", {HOST}, 404},
    {"GET", "/healthz/", {HOST}, 404},
    {"POST", "/healthz", {HOST}, 405},
    {"DELETE", "/healthz", {HOST}, 405},
    {"OPTIONS", "/healthz", {HOST}, 405},
    /* smuggling */
    {"GET", "/healthz", {HOST, {"Content-Length", "0"}}, 200},
    {"GET", "/healthz", {HOST, {"Content-Length", "5"}}, 413},
    {"GET", "/healthz", {HOST, {"Content-Length", "0"}, {"content-length", "0"}}, 400},
    {"GET", "/healthz", {HOST, {"Transfer-Encoding", "chunked"}}, 400},
    {"GET", "/healthz", {HOST, {"Transfer-Encoding", "chunked"}, {"Content-Length", "3"}}, 400},
    {"GET", "/healthz", {HOST, {"Content-Length ", "0"}}, 400},
    {"GET", "/healthz", {HOST, {"", "0"}}, 400},
    /* targets */
    {"GET", "/healthz%00.html", {HOST}, 400},
    {"GET", "/%2e%2e/healthz", {HOST}, 400},
    {"GET", "/%68ealthz", {HOST}, 400},
    {"GET", "/../healthz", {HOST}, 400},
    {"GET", "//healthz", {HOST}, 400},
    {"GET", "/static\\dashboard.js", {HOST}, 400},
    {"GET", "/healthz#x", {HOST}, 400},
    {"GET", "/healthz?a=%00", {HOST}, 400},
    {"GET", "http://localhost/healthz", {HOST}, 400},
    {"GET", "", {HOST}, 400},
    {"GET", "/health\xc3\xa9", {HOST}, 400},
    /* rebinding, cross-site */
    {"GET", "/healthz", {{NULL, NULL}}, 400},
    {"GET", "/healthz", {HOST, {"Host", "localhost"}}, 400},
    {"GET", "/healthz", {{"Host", "evil.example"}}, 403},
    {"GET", "/healthz", {{"Host", "localhost.evil.example"}}, 403},
    {"GET", "/healthz", {{"Host", "localhost:80@evil.example"}}, 403},
    {"GET", "/healthz", {{"Host", ""}}, 403},
    {"GET", "/healthz", {{"Host", "LOCALHOST"}}, 200},
    {"GET", "/healthz", {{"Host", "127.0.0.1:1"}}, 200},
    {"GET", "/healthz", {{"Host", "[::1]:9464"}}, 200},
    {"GET", "/healthz", {{"Host", "[::1"}}, 403},
    {"GET", "/healthz", {{"Host", "127.0.0.2:9464"}}, 200}, /* http.listen of this test */
    {"GET", "/healthz", {HOST, {"Origin", "http://localhost:9464"}}, 200},
    {"GET", "/healthz", {HOST, {"Origin", "http://evil.example"}}, 403},
    {"GET", "/healthz", {HOST, {"Origin", "null"}}, 403},
    {"GET", "/healthz", {HOST, {"Origin", "http://localhost:9464"}, {"Origin", "http://evil.example"}}, 403},
    /* arguments of the API are refused before the store is opened */
    {"GET", "/api/v1/windows", {HOST}, 400},
    {"GET", "/api/v1/windows?model=..%2Fx", {HOST}, 400},
    {"GET", "/api/v1/windows?model=m&limit=0", {HOST}, 400},
    {"GET", "/api/v1/windows?model=m&limit=100000", {HOST}, 400},
    {"GET", "/api/v1/jobs?state=x", {HOST}, 400},
    {"GET", "/api/v1/models", {HOST}, 503}, /* this test's store cannot be opened */
};

typedef struct {
  Health *health;
  Metrics *metrics;
  HttpContext context;
} Fixture;

static Fixture fixture;

static void set_up(void)
{
  fixture.health = health_new();
  fixture.metrics = metrics_new();
  fixture.context =
      (HttpContext){.store_uri = "sqlite:/nonexistent/kedge.db", .health = fixture.health, .metrics = fixture.metrics};
}

static void tear_down(void)
{
  metrics_free(fixture.metrics);
  health_free(fixture.health);
}

/* Queries as the wire would give them: decoded. */
static GArray *parse_query(const gchar *target)
{
  GArray *query = g_array_new(FALSE, FALSE, sizeof(HttpField));
  const gchar *mark = strchr(target, '?');
  g_auto(GStrv) items = g_strsplit(mark != NULL ? mark + 1 : "", "&", -1);
  for (guint i = 0; items[i] != NULL; i++) {
    g_auto(GStrv) pair = g_strsplit(items[i], "=", 2);
    if (pair[0] == NULL || pair[1] == NULL) continue;
    g_autofree gchar *value = g_uri_unescape_string(pair[1], NULL);
    HttpField field = {g_intern_string(pair[0]), g_intern_string(value != NULL ? value : "")};
    g_array_append_val(query, field);
  }
  return query;
}

static guint dispatch(const gchar *method, const gchar *target, const gchar *const headers[][2], HttpRole role,
                      gchar **body)
{
  g_autoptr(GArray) fields = g_array_new(FALSE, FALSE, sizeof(HttpField));
  g_autoptr(GArray) query = parse_query(target);
  for (guint i = 0; headers[i][0] != NULL; i++) {
    HttpField field = {headers[i][0], headers[i][1]};
    g_array_append_val(fields, field);
  }
  HttpRequest request = {.method = method, .target = target, .headers = fields, .query = query, .role = role};
  HttpResponse response = {0};
  http_dispatch(&fixture.context, &request, "127.0.0.2", &response);
  ck_assert_ptr_nonnull(response.content_type);
  gsize length = 0;
  gconstpointer bytes = response.body != NULL ? g_bytes_get_data(response.body, &length) : "";
  if (body != NULL) *body = g_strndup(bytes, length);
  g_clear_pointer(&response.body, g_bytes_unref);
  return response.status;
}

START_TEST(request_is_judged)
{
  const Case *one = &cases[_i];
  guint status = dispatch(one->method, one->target, one->headers, HTTP_ROLE_VIEWER, NULL);
  ck_assert_msg(status == one->status, "%s %s (%s: %s): status %u, expected %u", one->method, one->target,
                one->headers[0][0], one->headers[0][1], status, one->status);
}
END_TEST

/* Every route refuses every role below its own, and nothing is open to nobody. */
START_TEST(route_refuses_lower_roles)
{
  static const gchar *const headers[][2] = {HOST, {NULL, NULL}};
  const HttpRoute *route = &http_routes[_i];
  if (route->path == NULL) return;
  ck_assert_int_gt(route->role, HTTP_ROLE_NONE);
  for (HttpRole role = HTTP_ROLE_NONE; role < route->role; role++)
    ck_assert_uint_eq(dispatch("GET", route->path, headers, role, NULL), 403);
  ck_assert_uint_ne(dispatch("GET", route->path, headers, route->role, NULL), 404);
  ck_assert_uint_ne(dispatch("GET", route->path, headers, route->role, NULL), 403);
}
END_TEST

START_TEST(readyz_says_why_not)
{
  static const gchar *const headers[][2] = {HOST, {NULL, NULL}};
  health_set(fixture.health, "consumer", FALSE, "broker 127.0.0.1:1 is unreachable");
  g_autofree gchar *body = NULL;
  ck_assert_uint_eq(dispatch("GET", "/readyz", headers, HTTP_ROLE_VIEWER, &body), 503);
  ck_assert_str_eq(body, "consumer: broker 127.0.0.1:1 is unreachable\n");
  health_set(fixture.health, "consumer", TRUE, NULL);
  ck_assert_uint_eq(dispatch("GET", "/readyz", headers, HTTP_ROLE_VIEWER, NULL), 200);
}
END_TEST

/* --- the wire ------------------------------------------------------------------------------------------------------
 */

typedef struct {
  gchar *directory, *socket_path;
  HttpServer *server;
} Wire;
static Wire wire;

static void start_wire(void)
{
  set_up();
  g_autoptr(GError) error = NULL;
  wire.directory = g_dir_make_tmp("kedge-http-XXXXXX", NULL);
  g_autofree gchar *config = g_build_filename(wire.directory, "kedge.yaml", NULL);
  wire.socket_path = g_build_filename(wire.directory, "kedge.sock", NULL);
  g_autofree gchar *text = g_strdup_printf("store: sqlite:%s/kedge.db\nartifacts: %s\nhttp:\n  listen: 127.0.0.1:0\n"
                                           "  socket: %s\nmodels: []\n",
                                           wire.directory, wire.directory, wire.socket_path);
  ck_assert(g_file_set_contents(config, text, -1, NULL));
  g_autoptr(Settings) settings = settings_load(config, &error);
  ck_assert_msg(settings != NULL, "%s", error != NULL ? error->message : "");
  wire.server = http_server_new(settings, fixture.health, fixture.metrics, &error);
  ck_assert_msg(wire.server != NULL, "%s", error != NULL ? error->message : "");
  ck_assert(http_server_start(wire.server, &error));
}

static void stop_wire(void)
{
  http_server_free(wire.server);
  ck_assert(!g_file_test(wire.socket_path, G_FILE_TEST_EXISTS));
  static const gchar *const files[] = {"kedge.yaml", "kedge.db", "kedge.db-wal", "kedge.db-shm"};
  for (guint i = 0; i < G_N_ELEMENTS(files); i++) {
    g_autofree gchar *path = g_build_filename(wire.directory, files[i], NULL);
    g_unlink(path);
  }
  g_rmdir(wire.directory);
  g_free(wire.directory);
  g_free(wire.socket_path);
  tear_down();
}

static int connect_tcp(void)
{
  int fd = socket(AF_INET, SOCK_STREAM, 0);
  struct sockaddr_in address = {.sin_family = AF_INET,
                                .sin_port = htons((guint16)http_server_get_port(wire.server)),
                                .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  ck_assert_int_eq(connect(fd, (struct sockaddr *)&address, sizeof address), 0);
  return fd;
}

static int connect_unix(void)
{
  int fd = socket(AF_UNIX, SOCK_STREAM, 0);
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  g_strlcpy(address.sun_path, wire.socket_path, sizeof address.sun_path);
  ck_assert_int_eq(connect(fd, (struct sockaddr *)&address, sizeof address), 0);
  return fd;
}

/* Sends the bytes and reads until the server closes (our side says that nothing more comes). */
static gchar *exchange(int fd, const gchar *bytes, gssize length)
{
  gsize size = length < 0 ? strlen(bytes) : (gsize)length;
  for (gsize sent = 0; sent < size;) {
    gssize n = send(fd, bytes + sent, size - sent, MSG_NOSIGNAL);
    if (n <= 0) break; /* it may close on us before we are through */
    sent += (gsize)n;
  }
  shutdown(fd, SHUT_WR);
  g_autoptr(GString) answer = g_string_new(NULL);
  gchar buffer[4096];
  gssize n;
  while ((n = recv(fd, buffer, sizeof buffer, 0)) > 0) g_string_append_len(answer, buffer, n);
  close(fd);
  return g_string_free(g_steal_pointer(&answer), FALSE);
}

static guint count_answers(const gchar *text)
{
  guint n = 0;
  for (const gchar *at = text; (at = strstr(at, "HTTP/1.1 ")) != NULL; at++) n++;
  return n;
}

START_TEST(answers_on_both_sockets)
{
  const gchar *request = "GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
  g_autofree gchar *tcp = exchange(connect_tcp(), request, -1);
  g_autofree gchar *local = exchange(connect_unix(), request, -1);
  ck_assert_msg(g_str_has_prefix(tcp, "HTTP/1.1 200"), "%s", tcp);
  ck_assert_msg(g_str_has_prefix(local, "HTTP/1.1 200"), "%s", local);
  ck_assert_ptr_nonnull(strstr(tcp, "X-Content-Type-Options: nosniff\r\n"));
  ck_assert_ptr_nonnull(strstr(tcp, "Content-Security-Policy: default-src 'self';"));
  ck_assert_ptr_null(strstr(tcp, "Access-Control-Allow"));
  struct stat status;
  ck_assert_int_eq(stat(wire.socket_path, &status), 0);
  ck_assert_int_eq(status.st_mode & 0777, 0660);
}
END_TEST

typedef struct {
  const gchar *bytes;
  gssize length;
  guint answers;       /* at most so many: a smuggled second request gets none */
  const gchar *status; /* of the first; NULL: closed without an answer is right too */
} Raw;

#define SECOND "GET /readyz HTTP/1.1\r\nHost: localhost\r\n\r\n"
static const gchar with_zero[] = "GET /health\0z HTTP/1.1\r\nHost: localhost\r\n\r\n";
static const Raw raws[] = {
    {"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n" SECOND, -1, 2, "200"},
    {"GET /healthz HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\nContent-Length: 44\r\n\r\n" SECOND, -1, 1,
     "400"},
    {"GET /healthz HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4\r\nTransfer-Encoding: "
     "chunked\r\n\r\n0\r\n\r\n" SECOND,
     -1, 1, "400"},
    {"POST /healthz HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" SECOND, -1, 1, "400"},
    {"POST /healthz HTTP/1.1\r\nHost: localhost\r\nContent-Length: 44\r\n\r\n" SECOND, -1, 1, "413"},
    {"GET /healthz%00/../x HTTP/1.1\r\nHost: localhost\r\n\r\n" SECOND, -1, 1, "400"},
    {"GET /%2e%2e/%2e%2e/etc/passwd HTTP/1.1\r\nHost: localhost\r\n\r\n" SECOND, -1, 1, "400"},
    {"GET /healthz HTTP/1.1\r\n\r\n" SECOND, -1, 1, "400"},
    {"GET /healthz HTTP/1.1\r\nHost: evil.example\r\n\r\n" SECOND, -1, 1, "403"},
    {with_zero, sizeof with_zero - 1, 1, NULL},
    {"\x16\x03\x01\x02\x01\x01\xfc\x03\x03\r\n\r\n", -1, 1, NULL},
    {"GET\r\n\r\n", -1, 1, NULL},
    {"GET /healthz HTTP/1.1\r\nHost: localhost\r\nContent-Length : 44\r\n\r\n" SECOND, -1, 1, NULL},
    {"GET /healthz HTTP/1.1\r\nHost: localhost\r\nX: a\r\n Content-Length: 44\r\n\r\n" SECOND, -1, 1, "400"},
    {"GET /healthz HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding:\x0b"
     "chunked\r\n\r\n" SECOND,
     -1, 1, "400"},
    {"GET /healthz HTTP/1.1\r\nHost: localhost\nContent-Length: 44\n\n" SECOND, -1, 1, NULL},
};

START_TEST(wire_gives_no_second_answer)
{
  const Raw *raw = &raws[_i];
  g_autofree gchar *answer = exchange(connect_tcp(), raw->bytes, raw->length);
  ck_assert_msg(count_answers(answer) <= raw->answers, "case %d got %u answers:\n%s", _i, count_answers(answer),
                answer);
  if (raw->status == NULL) {
    ck_assert_ptr_null(strstr(answer, " 200 "));
    return;
  }
  ck_assert_msg(strlen(answer) > 12 && strncmp(answer + 9, raw->status, 3) == 0, "case %d: %s", _i, answer);
  ck_assert_uint_ge(count_answers(answer), 1);
}
END_TEST

START_TEST(long_headers_are_refused)
{
  g_autoptr(GString) request = g_string_new("GET /healthz HTTP/1.1\r\nHost: localhost\r\n");
  for (guint i = 0; i < 4000; i++) g_string_append_printf(request, "X-%u: %u\r\n", i, i);
  g_string_append(request, "\r\n");
  g_autofree gchar *answer = exchange(connect_tcp(), request->str, (gssize)request->len);
  ck_assert_ptr_null(strstr(answer, " 200 "));
  g_autofree gchar *long_target = g_strnfill(100000, 'a');
  g_autofree gchar *target = g_strdup_printf("GET /%s HTTP/1.1\r\nHost: localhost\r\n\r\n", long_target);
  g_autofree gchar *second = exchange(connect_tcp(), target, -1);
  ck_assert_ptr_null(strstr(second, " 200 "));
}
END_TEST

START_TEST(other_addresses_are_refused)
{
  static const gchar *const addresses[] = {"0.0.0.0:9464",   "[::]:9464", "192.0.2.1:80",
                                           "example.org:80", "9464",      ":9464"};
  for (guint i = 0; i < G_N_ELEMENTS(addresses); i++) {
    g_autoptr(GError) error = NULL;
    g_autofree gchar *path = g_build_filename(wire.directory, "other.yaml", NULL);
    g_autofree gchar *text = g_strdup_printf("store: sqlite:%s/kedge.db\nartifacts: %s\nhttp:\n  listen: \"%s\"\n"
                                             "  socket: \"\"\nmodels: []\n",
                                             wire.directory, wire.directory, addresses[i]);
    ck_assert(g_file_set_contents(path, text, -1, NULL));
    g_autoptr(Settings) settings = settings_load(path, &error);
    HttpServer *server = settings != NULL ? http_server_new(settings, fixture.health, fixture.metrics, &error) : NULL;
    ck_assert_ptr_null(server);
    ck_assert_ptr_nonnull(error);
    g_unlink(path);
  }
}
END_TEST

int main(void)
{
  Suite *suite = suite_create("http");
  TCase *dispatch_case = tcase_create("dispatch");
  tcase_add_checked_fixture(dispatch_case, set_up, tear_down);
  tcase_add_loop_test(dispatch_case, request_is_judged, 0, G_N_ELEMENTS(cases));
  int n_routes = 0;
  while (http_routes[n_routes].path != NULL) n_routes++;
  tcase_add_loop_test(dispatch_case, route_refuses_lower_roles, 0, n_routes);
  tcase_add_test(dispatch_case, readyz_says_why_not);
  suite_add_tcase(suite, dispatch_case);
  TCase *wire_case = tcase_create("wire");
  tcase_add_checked_fixture(wire_case, start_wire, stop_wire);
  tcase_add_test(wire_case, answers_on_both_sockets);
  tcase_add_loop_test(wire_case, wire_gives_no_second_answer, 0, G_N_ELEMENTS(raws));
  tcase_add_test(wire_case, long_headers_are_refused);
  tcase_add_test(wire_case, other_addresses_are_refused);
  suite_add_tcase(suite, wire_case);
  SRunner *runner = srunner_create(suite);
  srunner_run_all(runner, CK_NORMAL);
  int failed = srunner_ntests_failed(runner);
  srunner_free(runner);
  return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
