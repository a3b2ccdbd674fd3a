/* A half (request or response) as bytes: small, canonical, and independent of the JSON that it came in. Little-endian:
 * i64 time, i64 version, u32 rows; then per row the features, or the prediction and f64 score. A value is u8 kind, then
 * nothing, f64, or u32 length and text. */
#pragma once

#include "daemon/decode_inference.h"

G_BEGIN_DECLS

GBytes *decode_half_of_request(const DecodeRequest *request, guint n_features, gint64 time);
GBytes *decode_half_of_response(const DecodeResponse *response, gint64 time);

typedef struct {
  gint64 time, version;
  guint32 n_rows;
  const guint8 *at, *end; /* of what is still to be read */
  gboolean failed;        /* ran out of bytes: check once, at the end */
} DecodeHalfReader;
/* Borrows the bytes; texts of values borrow from them too. */
void decode_half_open(DecodeHalfReader *reader, GBytes *half);
DriftValue decode_half_get_value(DecodeHalfReader *reader);
double decode_half_get_double(DecodeHalfReader *reader);

G_END_DECLS
