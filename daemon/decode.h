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
  DECODE_MALFORMED,  /* not the format at all; truncated; bad UTF-8 */
  DECODE_TOO_LARGE,  /* above the cap on bytes */
  DECODE_TOO_DEEP,   /* nesting above the cap */
  DECODE_WRONG_TYPE, /* a field has a type that it cannot have */
  DECODE_MISSING_FIELD,
  DECODE_NOT_FINITE,   /* NaN or Infinity literals */
  DECODE_TOO_MANY,     /* rows or fields above the cap */
  DECODE_UNSUPPORTED,  /* an event type or content type this decoder does not know */
  DECODE_HALF_EXPIRED, /* CloudEvents: the other half never came in time */
  DECODE_N_REASONS
} DecodeReason;
const gchar *decode_reason_text(DecodeReason reason); /* "malformed", …: stable, for metrics and headers */
const gchar *decode_reason_help(DecodeReason reason); /* a sentence: what the sender should change */

/* Caps, checked before anything is allocated. */
#define DECODE_MAXIMUM_BYTES (1u << 20) /* a record */
#define DECODE_MAXIMUM_DEPTH 16u        /* objects and arrays within each other, the record itself included */
#define DECODE_MAXIMUM_FIELDS 20000u    /* fields of one object */
#define DECODE_MAXIMUM_ROWS 16384u      /* rows of a batch */
#define DECODE_MAXIMUM_ID 512u          /* bytes of a request id */

typedef struct _Decoder Decoder;
typedef struct {
  DriftEvent *events; /* [n_events]; everything borrowed until the next call */
  guint n_events;     /* a batch of N rows is N events; a request half alone is 0 */
  guint n_expired;    /* halves given up during this call: count them as DECODE_HALF_EXPIRED */
} DecodedTraffic;
typedef struct {
  DriftValue request_id;
  DriftValue label;
  gint64 time; /* microseconds */
} DecodedLabel;

/* One decoder a shard (traffic partition): it may carry state. Used by one thread. */
typedef struct {
  const gchar *format, *summary; /* "json", "cloudevents" */
  /* label_fields NULL: the traffic's. schema is copied. */
  Decoder *(*create)(const SettingsTraffic *settings, const SettingsFields *label_fields, const DriftSchema *schema,
                     GError **error);
  /* DECODE_OK: *out is valid (possibly no event yet). Else the error text names the field and the byte
   * offset and only out->n_expired is valid. A completed half makes the event of the record that completed it. */
  DecodeReason (*traffic)(Decoder *decoder, const SourceRecord *record, DecodedTraffic *out, GError **error);
  DecodeReason (*label)(Decoder *decoder, const SourceRecord *record, DecodedLabel *out, GError **error);
  /* State carried between records (halves waiting for their other half), bounded, canonical; the functions are NULL
   * when stateless. */
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
