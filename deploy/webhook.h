/* Standard Webhooks: signed with HMAC-SHA256 over id.timestamp.body, sent with the SSRF guards of the security notes.
 */
#pragma once

#include <glib.h>

#include "deploy/target.h"

G_BEGIN_DECLS

typedef struct {
  const gchar *name, *url;
  const gchar *secret_file;       /* "whsec_…" base64, one per line: two during rotation */
  gboolean allow_plain_http;      /* tests and loopback only */
  gboolean allow_private_address; /* else a connected peer in loopback, link-local or private ranges is refused */
  guint timeout_ms;
} DeployWebhookSettings;

/* TRUE on 2xx. *gone is set on 410 (disable). timestamp: seconds, injectable. */
gboolean deploy_webhook_send(const DeployWebhookSettings *settings, const gchar *id, gint64 timestamp,
                             const gchar *body, gboolean *gone, GError **error);
/* "v1,BASE64" for one secret. */
gchar *deploy_webhook_sign(const guint8 *secret, gsize length, const gchar *id, gint64 timestamp, const gchar *body);

G_END_DECLS
