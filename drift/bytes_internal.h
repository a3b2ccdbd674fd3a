/* Little-endian writing to a GByteArray and reading with bounds, shared by every encoding in drift/.
 * A reader that runs out of bytes sets `failed` and returns zeros from then on: check once, at the end of a group.
 */
#pragma once

#include <glib.h>

G_BEGIN_DECLS

typedef struct {
  const guint8 *at, *end;
  gboolean failed;
} DriftReader;

void drift_reader_init(DriftReader *reader, const guint8 *bytes, gsize length);
gsize drift_reader_left(const DriftReader *reader);
guint8 drift_get_u8(DriftReader *reader);
guint16 drift_get_u16(DriftReader *reader);
guint32 drift_get_u32(DriftReader *reader);
guint64 drift_get_u64(DriftReader *reader);
gint64 drift_get_i64(DriftReader *reader);
double drift_get_double(DriftReader *reader);
guint64 drift_get_varint(DriftReader *reader); /* LEB128; refuses spellings longer than needed */
/* `length` borrowed bytes, or NULL (failed). */
const guint8 *drift_get_block(DriftReader *reader, gsize length);
/* u32 length and bytes as new NUL-terminated text; NULL (failed) when longer than `cap`, not UTF-8, or with a NUL. */
gchar *drift_get_string(DriftReader *reader, gsize cap);

void drift_put_u8(GByteArray *out, guint8 value);
void drift_put_u16(GByteArray *out, guint16 value);
void drift_put_u32(GByteArray *out, guint32 value);
void drift_put_u64(GByteArray *out, guint64 value);
void drift_put_i64(GByteArray *out, gint64 value);
void drift_put_double(GByteArray *out, double value); /* every NaN is written as one NaN */
void drift_put_varint(GByteArray *out, guint64 value);
void drift_put_string(GByteArray *out, const gchar *text);

/* A frame: 4 bytes of magic, a version byte, u32 raw length, u64 digest of the raw bytes, zstd at a fixed level. Equal
 * raw bytes give equal frames. Takes nothing. */
GBytes *drift_frame_pack(const gchar magic[4], guint8 version, const GByteArray *raw);
/* The raw bytes, or NULL: `what` names the thing in the error. Refuses raw lengths above `cap`. */
GBytes *drift_frame_unpack(const gchar magic[4], guint8 version, gsize cap, const gchar *what, GBytes *bytes,
                           GError **error);
/* The version byte, 0 when there is none. */
guint8 drift_frame_version(GBytes *bytes);
/* 64-bit digest (FNV-1a, finalised) used to name grids and to notice damaged bytes; not cryptographic. */
guint64 drift_digest(const guint8 *bytes, gsize length);

G_END_DECLS
