/* Headers and elements of .npy files: npy.c (whole arrays) and npy_rows.c (row by row) share them. */
#pragma once

#include "pipeline/npy.h"

G_BEGIN_DECLS

#define PIPELINE_NPY_MAX_ROWS 100000000u
#define PIPELINE_NPY_HEADER_BYTES (65536u + 12u) /* more than any header that is read takes, with what is in front */

/* The bytes of an element, in the machine's order. */
typedef union {
  guint8 bytes[8];
  gint8 i1;
  guint8 u1;
  gint16 i2;
  guint16 u2;
  gint32 i4;
  guint32 u4;
  gint64 i8;
  guint64 u8;
  float f4;
  double f8;
} PipelineNpyElement;

typedef struct {
  const gchar *code;
  gsize size;
  double (*read)(const PipelineNpyElement *element);
} PipelineNpyType;

typedef struct {
  const PipelineNpyType *type;
  gboolean swapped, fortran;
  gboolean fold; /* dimensions behind the first become columns */
  guint n_dimensions;
  guint64 shape[2];
  guint n_row_dims;
  guint64 row_dims[8];
  guint found; /* bits of keys */
} PipelineNpyHeader;

/* Of the first bytes of a file; fold is set by the caller. *start: where the values begin. */
gboolean pipeline_npy_read_header(const guint8 *bytes, gsize length, const gchar *name, PipelineNpyHeader *header,
                                  gsize *start, GError **error);
double pipeline_npy_read_element(const PipelineNpyHeader *header, const guint8 *at);

/* Where the bytes of an array come from, in order, again and again. */
typedef struct {
  gchar *name;     /* for messages; owned */
  guint64 n_bytes; /* of the array with its header */
  gpointer data;
  gboolean (*rewind)(gpointer data, GError **error);
  /* Bytes read, fewer than n at the end only; -1: an error. */
  gssize (*read)(gpointer data, guint8 *bytes, gsize n, GError **error);
  GDestroyNotify free_data;
} PipelineNpySource;
/* Takes what the source owns, also when it fails. fold: as pipeline_npy_parse_rows. */
PipelineRowStream *pipeline_npy_rows_new(PipelineNpySource source, gboolean fold, GError **error);

G_END_DECLS
