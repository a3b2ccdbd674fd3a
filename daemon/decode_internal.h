/* Pieces that decoders share. Only decode_*.c and decode_*.cpp include this. */
#pragma once

#include "daemon/decode.h"

G_BEGIN_DECLS

/* --- decode_time.c -------------------------------------------------------------------------------------------------
 */
/* RFC 3339 with a zone ("2024-02-29T23:59:60.5+01:00") -> microseconds since 1970. FALSE: it is not; *time untouched.
 */
gboolean decode_time_parse(const gchar *text, gsize length, gint64 *time);
/* A number since 1970 whose magnitude says the unit: |n| < 1e11 seconds, < 1e14 ms, < 1e17 us, else ns. FALSE: not
 * finite, or outside the years 1 to 9999. decode_time_from_integer keeps every digit. */
gboolean decode_time_from_number(double number, gint64 *time);
gboolean decode_time_from_integer(gint64 number, gint64 *time);

/* --- decode.c ------------------------------------------------------------------------------------------------------
 */
/* Sets DAEMON_ERROR_DECODE with "field 'NAME' at byte N: TEXT" (field NULL: "byte N: TEXT") and returns reason. */
G_GNUC_PRINTF(5, 6)
DecodeReason decode_refuse(GError **error, DecodeReason reason, const gchar *field, gsize byte, const gchar *format,
                           ...);
/* Whether the text between tokens (not inside strings) holds NaN or Infinity: tells why a parser refused a record. */
gboolean decode_has_not_finite(const guint8 *bytes, gsize length);
/* Deepest nesting of objects and arrays in JSON text, brackets in strings not counted; stops at `limit` + 1. */
guint decode_depth(const guint8 *bytes, gsize length, guint limit);

/* --- decode_json.cpp: one flat JSON object, by simdjson On-Demand ---------------------------------------------------
 */
typedef struct _DecodeJson DecodeJson;
DecodeJson *decode_json_new(const SettingsTraffic *settings, const SettingsFields *label_fields,
                            const DriftSchema *schema);
void decode_json_free(DecodeJson *json);
/* *event borrows from `json` until its next call. *is_ours FALSE: an event of another model (only_model). */
DecodeReason decode_json_traffic(DecodeJson *json, const guint8 *bytes, gsize length, DriftEvent *event,
                                 gboolean *is_ours, GError **error);
DecodeReason decode_json_label(DecodeJson *json, const guint8 *bytes, gsize length, DecodedLabel *label,
                               GError **error);

G_END_DECLS
