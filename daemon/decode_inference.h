/* Open Inference Protocol V2 bodies and structured CloudEvents, by simdjson's DOM (their members come in any order).
 * Only decode_cloudevents.c, its tests and the fuzzer include this. */
#pragma once

#include "daemon/decode_internal.h"

G_BEGIN_DECLS

typedef struct _DecodeInference DecodeInference;
DecodeInference *decode_inference_new(const SettingsFields *fields, const DriftSchema *schema);
void decode_inference_free(DecodeInference *inference);

/* Attributes of a structured event; NULL: absent. Everything is borrowed until the next decode_inference_envelope. */
typedef struct {
  const gchar *type, *id, *time, *service; /* service: inferenceservicename */
  const guint8 *body;                      /* `data` as JSON text, or data_base64 decoded */
  gsize body_length;
} DecodeEnvelope;
DecodeReason decode_inference_envelope(DecodeInference *inference, const guint8 *bytes, gsize length,
                                       DecodeEnvelope *envelope, GError **error);

/* Both are borrowed until the next body. */
typedef struct {
  guint n_rows;
  const DriftValue *values; /* [n_rows][n_features], schema order; a feature without an input is MISSING */
} DecodeRequest;
typedef struct {
  guint n_rows;
  gint64 version;                /* model_version if it is a whole number; 0: not stated */
  const DriftValue *predictions; /* [n_rows] */
  const double *scores;          /* [n_rows]; NaN: absent */
} DecodeResponse;
DecodeReason decode_inference_request(DecodeInference *inference, const guint8 *bytes, gsize length,
                                      DecodeRequest *request, GError **error);
DecodeReason decode_inference_response(DecodeInference *inference, const guint8 *bytes, gsize length,
                                       DecodeResponse *response, GError **error);

G_END_DECLS
