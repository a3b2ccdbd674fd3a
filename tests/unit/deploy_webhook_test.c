/* Webhooks: the signature's known answers, the address guard, and what a real peer on loopback sees and answers. */
#include <arpa/inet.h>
#include <check.h>
#include <glib/gstdio.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "deploy/http.h"
#include "deploy/webhook.h"

/* --- a server of one answer a connection ---------------------------------------------------------------------- */

typedef struct {
  int listener;
  guint16 port;
  const char *answer; /* sent as it is; NULL: say nothing until the client goes */
  gsize padding;      /* bytes of 'x' after it */
  GString *request;
  GThread *thread;
} Server;

static gboolean request_is_whole(const GString *request)
{
  const char *body = strstr(request->str, "\r\n\r\n");
  if (body == NULL) return FALSE;
  const char *length = strcasestr(request->str, "content-length: ");
  return length == NULL || strlen(body + 4) >= (gsize)atol(length + 16);
}

static gpointer serve(gpointer data)
{
  Server *server = data;
  int peer = accept(server->listener, NULL, NULL);
  if (peer < 0) return NULL;
  char buffer[4096];
  for (ssize_t got = 1; got > 0 && !request_is_whole(server->request);) {
    got = read(peer, buffer, sizeof buffer);
    if (got > 0) g_string_append_len(server->request, buffer, got);
  }
  if (server->answer == NULL) {
    while (read(peer, buffer, sizeof buffer) > 0) continue;
  } else {
    if (send(peer, server->answer, strlen(server->answer), MSG_NOSIGNAL) < 0) server->padding = 0;
    memset(buffer, 'x', sizeof buffer);
    for (gsize sent = 0; sent < server->padding; sent += sizeof buffer)
      if (send(peer, buffer, sizeof buffer, MSG_NOSIGNAL) < 0) break;
  }
  close(peer);
  return NULL;
}

static Server *server_start(const char *answer, gsize padding)
{
  Server *server = g_new0(Server, 1);
  server->answer = answer;
  server->padding = padding;
  server->request = g_string_new(NULL);
  server->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  socklen_t length = sizeof address;
  ck_assert_int_eq(bind(server->listener, (struct sockaddr *)&address, length), 0);
  ck_assert_int_eq(listen(server->listener, 4), 0);
  ck_assert_int_eq(getsockname(server->listener, (struct sockaddr *)&address, &length), 0);
  server->port = ntohs(address.sin_port);
  server->thread = g_thread_new("server", serve, server);
  return server;
}

/* Returns the request; shutdown wakes an accept that nobody answered. */
static gchar *server_stop(Server *server)
{
  shutdown(server->listener, SHUT_RDWR);
  g_thread_join(server->thread);
  close(server->listener);
  gchar *request = g_string_free(server->request, FALSE);
  g_free(server);
  return request;
}

static gchar *secret_path;

static void write_secrets(const char *text)
{
  if (secret_path == NULL) {
    int file = g_file_open_tmp("kedge-secret-XXXXXX", &secret_path, NULL);
    ck_assert_int_ge(file, 0);
    close(file);
  }
  ck_assert(g_file_set_contents(secret_path, text, -1, NULL));
}

static gboolean send_to(const char *answer, gsize padding, gboolean allowed, gchar **request, gboolean *gone,
                        GError **error)
{
  Server *server = server_start(answer, padding);
  g_autofree gchar *url = g_strdup_printf("http://127.0.0.1:%u/hook?key=canary", server->port);
  DeployWebhookSettings settings = {.name = "ops",
                                    .url = url,
                                    .secret_file = secret_path,
                                    .allow_plain_http = TRUE,
                                    .allow_private_address = allowed,
                                    .timeout_ms = answer != NULL ? 5000 : 200};
  gboolean sent = deploy_webhook_send(&settings, "msg_1", 1614265330, "{\"test\": 1}", gone, error);
  g_autofree gchar *seen = server_stop(server);
  if (request != NULL) *request = g_steal_pointer(&seen);
  if (!sent) ck_assert_ptr_null(strstr((*error)->message, "canary"));
  return sent;
}

#define FIRST "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
#define SECOND "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="

/* --- signature -------------------------------------------------------------------------------------------------- */

/* The example that the reference libraries of Standard Webhooks test with. */
START_TEST(known_signature)
{
  gsize length = 0;
  g_autofree guchar *secret = g_base64_decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", &length);
  g_autofree gchar *signature =
      deploy_webhook_sign(secret, length, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, "{\"test\": 2432232314}");
  ck_assert_str_eq(signature, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
}
END_TEST

START_TEST(one_secret_one_signature_two_secrets_two)
{
  g_autoptr(GError) error = NULL;
  g_autofree gchar *request = NULL, *both = NULL;
  write_secrets(FIRST "\n");
  ck_assert(send_to("HTTP/1.1 204 No Content\r\n\r\n", 0, TRUE, &request, NULL, &error));
  ck_assert_ptr_nonnull(strstr(request, "POST /hook?key=canary HTTP/1.1\r\n"));
  ck_assert_ptr_nonnull(strstr(request, "webhook-id: msg_1\r\n"));
  ck_assert_ptr_nonnull(strstr(request, "webhook-timestamp: 1614265330\r\n"));
  ck_assert_ptr_nonnull(strstr(request, "\r\n\r\n{\"test\": 1}"));
  gsize length = 0;
  g_autofree guchar *one = g_base64_decode(&FIRST[6], &length);
  g_autofree gchar *first = deploy_webhook_sign(one, length, "msg_1", 1614265330, "{\"test\": 1}");
  g_autofree guchar *two = g_base64_decode(&SECOND[6], &length);
  g_autofree gchar *second = deploy_webhook_sign(two, length, "msg_1", 1614265330, "{\"test\": 1}");
  g_autofree gchar *single = g_strdup_printf("webhook-signature: %s\r\n", first);
  g_autofree gchar *pair = g_strdup_printf("webhook-signature: %s %s\r\n", first, second);
  ck_assert_ptr_nonnull(strstr(request, single));
  write_secrets("# being replaced\n" FIRST "\n\n" SECOND);
  ck_assert(send_to("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", 0, TRUE, &both, NULL, &error));
  ck_assert_ptr_nonnull(strstr(both, pair));
}
END_TEST

START_TEST(bad_secret_files_are_refused)
{
  static const char *const bad[] = {"", "secret", "whsec_dG9vIHNob3J0", FIRST "\n" SECOND "\n" FIRST};
  for (size_t i = 0; i < G_N_ELEMENTS(bad); i++) {
    write_secrets(bad[i]);
    DeployWebhookSettings settings = {.name = "ops", .url = "https://example.org/", .secret_file = secret_path};
    g_autoptr(GError) error = NULL;
    ck_assert(!deploy_webhook_send(&settings, "msg_1", 1, "{}", NULL, &error));
    ck_assert(g_error_matches(error, DEPLOY_ERROR, DEPLOY_ERROR_INVALID));
    ck_assert_ptr_null(strstr(error->message, "dG9v"));
    ck_assert_ptr_null(strstr(error->message, "MfKQ"));
  }
}
END_TEST

START_TEST(ids_cannot_forge_headers)
{
  write_secrets(FIRST);
  static const char *const bad[] = {"", "a b", "a\r\nX: y", "\xc3\xa9"};
  for (size_t i = 0; i < G_N_ELEMENTS(bad); i++) {
    DeployWebhookSettings settings = {.name = "ops", .url = "https://example.org/", .secret_file = secret_path};
    g_autoptr(GError) error = NULL;
    ck_assert(!deploy_webhook_send(&settings, bad[i], 1, "{}", NULL, &error));
    ck_assert(g_error_matches(error, DEPLOY_ERROR, DEPLOY_ERROR_INVALID));
  }
}
END_TEST

/* --- guards ----------------------------------------------------------------------------------------------------- */

START_TEST(private_peers_are_refused_before_a_byte_is_sent)
{
  write_secrets(FIRST);
  g_autoptr(GError) error = NULL;
  g_autofree gchar *request = NULL;
  ck_assert(!send_to("HTTP/1.1 204 No Content\r\n\r\n", 0, FALSE, &request, NULL, &error));
  ck_assert(g_error_matches(error, DEPLOY_ERROR, DEPLOY_ERROR_REFUSED));
  ck_assert_str_eq(request, "");
}
END_TEST

START_TEST(plain_http_is_refused_by_default)
{
  write_secrets(FIRST);
  DeployWebhookSettings settings = {
      .name = "ops", .url = "http://127.0.0.1:9/", .secret_file = secret_path, .allow_private_address = TRUE};
  g_autoptr(GError) error = NULL;
  ck_assert(!deploy_webhook_send(&settings, "msg_1", 1, "{}", NULL, &error));
  ck_assert_ptr_nonnull(strstr(error->message, "https://"));
  g_clear_error(&error);
  settings.url = "file:///etc/passwd";
  settings.allow_plain_http = TRUE;
  ck_assert(!deploy_webhook_send(&settings, "msg_1", 1, "{}", NULL, &error));
  ck_assert(g_error_matches(error, DEPLOY_ERROR, DEPLOY_ERROR_INVALID));
}
END_TEST

START_TEST(answers)
{
  write_secrets(FIRST);
  gboolean gone = TRUE;
  g_autoptr(GError) error = NULL;
  ck_assert(!send_to("HTTP/1.1 500 Oh\r\nContent-Length: 0\r\n\r\n", 0, TRUE, NULL, &gone, &error));
  ck_assert(!gone && g_error_matches(error, DEPLOY_ERROR, DEPLOY_ERROR_REFUSED));
  g_clear_error(&error);
  ck_assert(!send_to("HTTP/1.1 410 Gone\r\nContent-Length: 0\r\n\r\n", 0, TRUE, NULL, &gone, &error));
  ck_assert(gone);
  g_clear_error(&error);
  ck_assert(!send_to("HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n", 0, TRUE, NULL,
                     &gone, &error));
  ck_assert_ptr_nonnull(strstr(error->message, "redirects are not followed"));
  g_clear_error(&error);
  ck_assert(!send_to("HTTP/1.1 200 OK\r\n\r\n", 200000, TRUE, NULL, &gone, &error));
  ck_assert_ptr_nonnull(strstr(error->message, "longer than 65536"));
  g_clear_error(&error);
  ck_assert(!send_to(NULL, 0, TRUE, NULL, &gone, &error));
  ck_assert(g_error_matches(error, DEPLOY_ERROR, DEPLOY_ERROR_UNREACHABLE));
}
END_TEST

static gboolean is_public(const char *text)
{
  struct sockaddr_in v4 = {.sin_family = AF_INET};
  struct sockaddr_in6 v6 = {.sin6_family = AF_INET6};
  if (inet_pton(AF_INET, text, &v4.sin_addr) == 1) return deploy_http_address_is_public((struct sockaddr *)&v4);
  ck_assert_int_eq(inet_pton(AF_INET6, text, &v6.sin6_addr), 1);
  return deploy_http_address_is_public((struct sockaddr *)&v6);
}

START_TEST(addresses)
{
  static const char *const open_ones[] = {"1.1.1.1",      "172.32.0.1",     "11.0.0.1",         "100.128.0.1",
                                          "2606:4700::1", "::ffff:1.1.1.1", "64:ff9b::1.1.1.1", "2002:0101:0101::1"};
  static const char *const closed[] = {
      "127.0.0.1",
      "127.255.255.254",
      "0.0.0.0",
      "10.1.2.3",
      "172.16.0.1",
      "172.31.255.255",
      "192.168.1.1",
      "169.254.169.254",
      "100.64.0.1",
      "198.18.0.1",
      "224.0.0.1",
      "255.255.255.255",
      "::",
      "::1",
      "fe80::1",
      "fc00::1",
      "fd12::1",
      "ff02::1",
      "fec0::1",
      "::ffff:127.0.0.1",
      "::ffff:169.254.169.254",
      "64:ff9b::10.0.0.1",
      "2002:7f00:0001::1",
      "2002:c0a8:0101::1",
      "::127.0.0.1",
      "2001:0:4136:e378::1",
      "2001:db8::1",
  };
  for (size_t i = 0; i < G_N_ELEMENTS(open_ones); i++) ck_assert_msg(is_public(open_ones[i]), "%s", open_ones[i]);
  for (size_t i = 0; i < G_N_ELEMENTS(closed); i++) ck_assert_msg(!is_public(closed[i]), "%s", closed[i]);
  struct sockaddr other = {.sa_family = AF_UNIX};
  ck_assert(!deploy_http_address_is_public(&other));
}
END_TEST

int main(void)
{
  Suite *suite = suite_create("deploy_webhook");
  TCase *tests = tcase_create("webhook");
  tcase_set_timeout(tests, 60);
  tcase_add_test(tests, known_signature);
  tcase_add_test(tests, one_secret_one_signature_two_secrets_two);
  tcase_add_test(tests, bad_secret_files_are_refused);
  tcase_add_test(tests, ids_cannot_forge_headers);
  tcase_add_test(tests, private_peers_are_refused_before_a_byte_is_sent);
  tcase_add_test(tests, plain_http_is_refused_by_default);
  tcase_add_test(tests, answers);
  tcase_add_test(tests, addresses);
  suite_add_tcase(suite, tests);
  SRunner *runner = srunner_create(suite);
  srunner_set_fork_status(runner, CK_NOFORK); /* one secret file, removed below */
  srunner_run_all(runner, CK_NORMAL);
  int failed = srunner_ntests_failed(runner);
  srunner_free(runner);
  if (secret_path != NULL) g_unlink(secret_path);
  g_free(secret_path);
  return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
