/* Source: the Standard Webhooks specification (symmetric signatures, "v1"). */
#include "deploy/webhook.h"

#include <string.h>

#include "deploy/http.h"

#define SECRET_PREFIX "whsec_"
#define SECRET_MINIMUM 24
#define SECRET_MAXIMUM 64
#define SECRETS_MAXIMUM 2
#define SECRET_FILE_MAXIMUM 4096
#define IDENTIFIER_MAXIMUM 256

gchar *deploy_webhook_sign(const guint8 *secret, gsize length, const gchar *id, gint64 timestamp, const gchar *body)
{
  g_autofree gchar *signed_text = g_strdup_printf("%s.%" G_GINT64_FORMAT ".%s", id, timestamp, body);
  guint8 digest[32];
  gsize digest_length = sizeof digest;
  GHmac *hmac = g_hmac_new(G_CHECKSUM_SHA256, secret, length);
  g_hmac_update(hmac, (const guchar *)signed_text, (gssize)strlen(signed_text));
  g_hmac_get_digest(hmac, digest, &digest_length);
  g_hmac_unref(hmac);
  g_autofree gchar *text = g_base64_encode(digest, digest_length);
  return g_strconcat("v1,", text, NULL);
}

/* Secrets leave memory when they are no longer needed. */
static void wipe_free(gpointer data, gsize length)
{
  explicit_bzero(data, length);
  g_free(data);
}

static gboolean refuse(const DeployWebhookSettings *settings, const gchar *fault, GError **error)
{
  g_set_error(error, DEPLOY_ERROR, DEPLOY_ERROR_INVALID, "webhook \"%s\": %s", settings->name, fault);
  return FALSE;
}

static gboolean sign_with_line(const DeployWebhookSettings *settings, const gchar *line, const gchar *id,
                               gint64 timestamp, const gchar *body, GString *signatures, GError **error)
{
  if (!g_str_has_prefix(line, SECRET_PREFIX))
    return refuse(settings, "each line of its secret file must begin with whsec_", error);
  gsize length = 0;
  guchar *secret = g_base64_decode(line + strlen(SECRET_PREFIX), &length);
  gboolean fits = length >= SECRET_MINIMUM && length <= SECRET_MAXIMUM;
  if (fits) {
    g_autofree gchar *signature = deploy_webhook_sign(secret, length, id, timestamp, body);
    g_string_append_printf(signatures, "%s%s", signatures->len > 0 ? " " : "", signature);
  }
  wipe_free(secret, length);
  return fits || refuse(settings, "its secret must be whsec_ and the base64 of 24 to 64 bytes", error);
}

/* One signature a secret: receivers accept either while a secret is being replaced. */
static gchar *sign_with_file(const DeployWebhookSettings *settings, const gchar *id, gint64 timestamp,
                             const gchar *body, GError **error)
{
  gchar *text = NULL;
  gsize length = 0;
  if (!g_file_get_contents(settings->secret_file, &text, &length, error)) {
    g_prefix_error(error, "webhook \"%s\": its secret cannot be read: ", settings->name);
    return NULL;
  }
  if (length > SECRET_FILE_MAXIMUM || strlen(text) != length) {
    wipe_free(text, length);
    refuse(settings, "its secret file is not one or two lines of text", error);
    return NULL;
  }
  g_autoptr(GString) signatures = g_string_new(NULL);
  guint n = 0;
  gboolean signed_all = TRUE;
  gchar *rest = text;
  for (gchar *line = strsep(&rest, "\n"); line != NULL && signed_all; line = strsep(&rest, "\n")) {
    g_strstrip(line);
    if (line[0] == '\0' || line[0] == '#') continue;
    if (++n > SECRETS_MAXIMUM)
      signed_all = refuse(settings, "its secret file holds more than two secrets", error);
    else
      signed_all = sign_with_line(settings, line, id, timestamp, body, signatures, error);
  }
  wipe_free(text, length);
  if (signed_all && n == 0) signed_all = refuse(settings, "its secret file is empty", error);
  return signed_all ? g_string_free(g_steal_pointer(&signatures), FALSE) : NULL;
}

static gboolean check(const DeployWebhookSettings *settings, const gchar *id, const gchar *body, GError **error)
{
  gsize length = strlen(id);
  if (length == 0 || length > IDENTIFIER_MAXIMUM)
    return refuse(settings, "a message id must have 1 to 256 bytes", error);
  for (gsize i = 0; i < length; i++)
    if (!g_ascii_isgraph(id[i])) return refuse(settings, "a message id must be printable ASCII without spaces", error);
  if (strlen(body) > DEPLOY_HTTP_MAX_BODY) return refuse(settings, "the message is longer than 1 MiB", error);
  if (settings->secret_file == NULL || settings->secret_file[0] == '\0')
    return refuse(settings, "it has no secret_file: messages are always signed", error);
  return TRUE;
}

gboolean deploy_webhook_send(const DeployWebhookSettings *settings, const gchar *id, gint64 timestamp,
                             const gchar *body, gboolean *gone, GError **error)
{
  if (!check(settings, id, body, error)) return FALSE;
  g_autofree gchar *signatures = sign_with_file(settings, id, timestamp, body, error);
  if (signatures == NULL) return FALSE;
  g_autofree gchar *id_header = g_strconcat("webhook-id: ", id, NULL);
  g_autofree gchar *time_header = g_strdup_printf("webhook-timestamp: %" G_GINT64_FORMAT, timestamp);
  g_autofree gchar *signature_header = g_strconcat("webhook-signature: ", signatures, NULL);
  const gchar *const headers[] = {"Content-Type: application/json", id_header, time_header, signature_header, NULL};
  g_autofree gchar *name = g_strdup_printf("webhook \"%s\"", settings->name);
  DeployHttpRequest request = {.name = name,
                               .url = settings->url,
                               .headers = headers,
                               .body = body,
                               .timeout_ms = settings->timeout_ms > 0 ? settings->timeout_ms : 10000,
                               .allow_plain_http = settings->allow_plain_http,
                               .allow_private_address = settings->allow_private_address};
  g_auto(DeployHttpResponse) response = {0};
  if (!deploy_http_post(&request, &response, error)) return FALSE;
  if (gone != NULL) *gone = response.status == 410;
  if (response.status / 100 == 2) return TRUE;
  const gchar *advice = response.status == 410       ? "the receiver is gone: remove the webhook from the settings"
                        : response.status / 100 == 3 ? "redirects are not followed: give the final URL"
                                                     : "it is tried again";
  g_set_error(error, DEPLOY_ERROR, DEPLOY_ERROR_REFUSED, "%s answered with HTTP status %ld; %s", name, response.status,
              advice);
  return FALSE;
}
