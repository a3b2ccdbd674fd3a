/* Requests and responses that wait for each other, by the id they share. Bounded, in order of arrival, canonical bytes.
 *
 * Ids of completed pairs are remembered as long, so that a half that comes again is known as such. Time is the caller's
 * clock, which never goes back. */
#pragma once

#include <glib.h>

G_BEGIN_DECLS

#define DECODE_HALVES_MAXIMUM_BYTES (16u << 20) /* of the contents that wait */

typedef struct _DecodeHalves DecodeHalves;
DecodeHalves *decode_halves_new(gint64 wait, guint limit);
void decode_halves_free(DecodeHalves *halves);

typedef enum {
  DECODE_HALF_WAITS,    /* the first of its id */
  DECODE_HALF_REPEATED, /* seen before */
  DECODE_HALF_COMPLETES /* *other gets the half that waited (transfer full) */
} DecodeHalfResult;
/* kind: 0 request, 1 response. content is referenced. Halves given up meanwhile are added to *n_expired. */
DecodeHalfResult decode_halves_add(DecodeHalves *halves, const gchar *id, guint kind, GBytes *content, gint64 clock,
                                   GBytes **other, guint *n_expired);
guint decode_halves_count(const DecodeHalves *halves); /* ids remembered */

GBytes *decode_halves_to_bytes(const DecodeHalves *halves);
/* Replaces the contents; on failure they stay as they were. */
gboolean decode_halves_restore(DecodeHalves *halves, GBytes *bytes, GError **error);

G_END_DECLS
