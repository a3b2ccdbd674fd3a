/* Benchmark streams with known concept drift, as the literature defines them. One visible table; adding one is a
 * function and a line. */
#pragma once

#include "drift/table.h"

G_BEGIN_DECLS

#define SIMULATE_LABEL "class"

typedef struct {
  const gchar *name, *summary; /* summary: what changes, when, and the source */
  guint64 default_rows;
  /* Fills the table with so many rows. */
  void (*generate)(DriftTable *table, guint64 rows, GRand *random);
} SimulateStream;

extern const SimulateStream *const simulate_streams[]; /* NULL-terminated */
const SimulateStream *simulate_stream_find(const gchar *name);
/* rows 0: the stream's default. Same seed, same table. NULL: more rows than the cap of 100 million. */
DriftTable *simulate_stream_generate(const SimulateStream *stream, guint64 rows, guint32 seed, GError **error);
/* The rows 0 … n - 1 (new, [n]): in this order, or shuffled by the seed. */
guint64 *simulate_order(guint64 n, gboolean shuffle, guint32 seed);

G_END_DECLS
