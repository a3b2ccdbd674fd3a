/* Decoders: bytes of a record → predictions and labels. One visible table; adding one is a file and a line. */
#pragma once

#include "daemon/settings.h"
#include "daemon/source.h"
#include "drift/row.h"
#include "drift/schema.h"

G_BEGIN_DECLS

/* Why a record was refused; the text form (decode_reason_text) is the `reason` of dead letters, metrics, coverage. */
typedef enum {
  DECODE_OK,
  DECODE_MALFORMED,   /* not the format at all; truncated; bad UTF-8 */
  DECODE_TOO_LARGE,   /* above the cap on bytes */
  DECODE_TOO_DEEP,    /* nesting above the cap */
  DECODE_WRONG_TYPE,  /* a field has a type that it cannot have */
  DECODE_MISSING_FIELD,
  DECODE_NOT_FINITE,  /* NaN or Infinity literals */
  DECODE_TOO_MANY,    /* rows or fields above the cap */
  DECODE_UNSUPPORTED, /* an event type or content type this decoder does not know */
  DECODE_HALF_EXPIRED,/* CloudEvents: the other half never came in time */
  DECODE_N_REASONS
} DecodeReason;
const gchar *decode_reason_text(DecodeReason reason);

typedef struct _Decoder Decoder;
typedef struct {
  DriftEvent *events;       /* [n_events]; everything borrowed until the next call */
  guint n_events;           /* a batch of N rows is N events; a request half alone is 0 */
} DecodedTraffic;
typedef struct {
  DriftValue request_id;
  DriftValue label;
  gint64 time; /* microseconds */
} DecodedLabel;

typedef struct {
  const gchar *format, *summary; /* "json", "cloudevents" */
  Decoder *(*create)(const SettingsTraffic *settings, const SettingsFields *label_fields, const DriftSchema *schema,
                     GError **error);
  /* DECODE_OK: *out is valid (possibly no event yet). Else error text names the field and the byte offset. */
  DecodeReason (*traffic)(Decoder *decoder, const SourceRecord *record, DecodedTraffic *out, GError **error);
  DecodeReason (*label)(Decoder *decoder, const SourceRecord *record, DecodedLabel *out, GError **error);
  /* State carried between records (halves waiting for their other half), bounded, canonical; NULL when stateless. */
  GBytes *(*to_bytes)(const Decoder *decoder);
  gboolean (*restore)(Decoder *decoder, GBytes *bytes, GError **error);
  void (*free)(Decoder *decoder);
  gboolean (*selftest)(GError **error);
} DecoderType;
struct _Decoder {
  const DecoderType *type;
};
extern const DecoderType *const decoder_types[]; /* NULL-terminated */
const DecoderType *decoder_type_find(const gchar *format);

G_END_DECLS
