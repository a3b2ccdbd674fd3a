/* SHA-256 in lower-case hex (64 characters), and the digest of a row of values. */
#pragma once

#include "registry/store.h"

G_BEGIN_DECLS

#define REGISTRY_DIGEST_LENGTH 64 /* hex characters, without the NUL */

gchar *registry_digest_bytes(const void *data, gsize length); /* new */
gboolean registry_digest_is_valid(const gchar *digest);       /* 64 of [0-9a-f] */
/* Over type, length and content of each value, so that no two lists of values share an encoding. New. */
gchar *registry_digest_values(const RegistryValue *values, guint n);
/* The same over columns [first, first + n) of a row read back. New. */
gchar *registry_digest_row(const RegistryRows *rows, guint row, guint first, guint n);
/* h_i of the audit chain: SHA-256(previous hex digest || encoding of the values). New. */
gchar *registry_digest_chain(const gchar *previous, const RegistryValue *values, guint n);

/* Incremental, for files. finish frees. */
typedef struct _RegistryDigest RegistryDigest;
RegistryDigest *registry_digest_new(void);
void registry_digest_update(RegistryDigest *digest, const void *data, gsize length);
gchar *registry_digest_finish(RegistryDigest *digest);

G_END_DECLS
