#include "registry/digest.h"

#include <openssl/evp.h>
#include <string.h>

#include "registry/store_internal.h"

struct _RegistryDigest {
  EVP_MD_CTX *context;
};

static gchar *hex_text(const unsigned char *bytes, guint n)
{
  static const gchar digits[] = "0123456789abcdef";
  gchar *text = g_malloc(2 * n + 1);
  for (guint i = 0; i < n; i++) {
    text[2 * i] = digits[bytes[i] >> 4];
    text[2 * i + 1] = digits[bytes[i] & 15];
  }
  text[2 * n] = '\0';
  return text;
}

RegistryDigest *registry_digest_new(void)
{
  RegistryDigest *digest = g_new0(RegistryDigest, 1);
  digest->context = EVP_MD_CTX_new();
  /* Without SHA-256 or memory nothing that follows could be trusted; GLib's own allocator ends the program likewise. */
  if (digest->context == NULL || EVP_DigestInit_ex(digest->context, EVP_sha256(), NULL) != 1)
    g_error("libcrypto offers no SHA-256");
  return digest;
}

void registry_digest_update(RegistryDigest *digest, const void *data, gsize length)
{
  if (length > 0) EVP_DigestUpdate(digest->context, data, length);
}

gchar *registry_digest_finish(RegistryDigest *digest)
{
  unsigned char bytes[EVP_MAX_MD_SIZE];
  unsigned int n = 0;
  EVP_DigestFinal_ex(digest->context, bytes, &n);
  EVP_MD_CTX_free(digest->context);
  g_free(digest);
  return hex_text(bytes, n);
}

gchar *registry_digest_bytes(const void *data, gsize length)
{
  RegistryDigest *digest = registry_digest_new();
  registry_digest_update(digest, data, length);
  return registry_digest_finish(digest);
}

gboolean registry_digest_is_valid(const gchar *digest)
{
  return digest != NULL && strlen(digest) == REGISTRY_DIGEST_LENGTH &&
         strspn(digest, "0123456789abcdef") == REGISTRY_DIGEST_LENGTH;
}

static void update_value(RegistryDigest *digest, const RegistryValue *value)
{
  guint8 head[9] = {(guint8)value->type};
  guint64 word = 0;
  gsize length = 0;
  switch (value->type) {
  case REGISTRY_NULL:
    break;
  case REGISTRY_INTEGER:
    word = (guint64)value->integer;
    break;
  case REGISTRY_REAL:
    memcpy(&word, &value->real, sizeof word);
    break;
  case REGISTRY_TEXT:
    word = length = strlen(value->data);
    break;
  case REGISTRY_BLOB:
    word = length = value->length;
    break;
  }
  for (guint i = 0; i < 8; i++) head[1 + i] = (guint8)(word >> (8 * i));
  registry_digest_update(digest, head, sizeof head);
  registry_digest_update(digest, value->data, length);
}

gchar *registry_digest_values(const RegistryValue *values, guint n)
{
  return registry_digest_chain("", values, n);
}

gchar *registry_digest_chain(const gchar *previous, const RegistryValue *values, guint n)
{
  RegistryDigest *digest = registry_digest_new();
  registry_digest_update(digest, previous, strlen(previous));
  for (guint i = 0; i < n; i++) update_value(digest, &values[i]);
  return registry_digest_finish(digest);
}

gchar *registry_digest_row(const RegistryRows *rows, guint row, guint first, guint n)
{
  RegistryDigest *digest = registry_digest_new();
  for (guint i = 0; i < n; i++) {
    RegistryValue value = registry_rows_get_value(rows, row, first + i);
    update_value(digest, &value);
  }
  return registry_digest_finish(digest);
}
