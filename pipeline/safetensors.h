/* Files of named tensors with texts beside them, as checkpoints are: safetensors.
 * Source: https://github.com/huggingface/safetensors, "Format". */
#pragma once

#include <glib.h>
#include <jansson.h>

#include "pipeline/error.h"

G_BEGIN_DECLS

/* One tensor, in the file and in memory. */
typedef struct {
  gchar *name;       /* owned by the list of parts */
  const gchar *type; /* "F32", "U64": static */
  gsize element, count;
  gpointer data;
  guint n_dims; /* 0: one dimension, count */
  const gint64 *dims;
} PipelineSafetensorsPart;
/* New: an empty list of PipelineSafetensorsPart that frees names. */
GArray *pipeline_safetensors_parts_new(void);

/* Written whole or not at all, mode 0600. Takes metadata, an object of texts. */
gboolean pipeline_safetensors_write(const gchar *path, const GArray *parts, json_t *metadata, GError **error);

typedef struct {
  gchar *contents;
  json_t *root;     /* the header */
  json_t *metadata; /* borrowed from root; NULL: none */
  const gchar *data;
  gsize length;
} PipelineSafetensors;
void pipeline_safetensors_clear(PipelineSafetensors *file);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(PipelineSafetensors, pipeline_safetensors_clear)

/* *found FALSE and TRUE returned: there is no such file. A header above max_header bytes or a file above max_file is
 * INVALID, as is what is no safetensors file. */
gboolean pipeline_safetensors_read(const gchar *path, gsize max_header, gsize max_file, PipelineSafetensors *file,
                                   gboolean *found, GError **error);
/* Where each of parts [n] begins in the file, NULL where the header has it not of that type and size; FALSE when one is
 * NULL. Memory is not touched. */
gboolean pipeline_safetensors_find(const PipelineSafetensors *file, const PipelineSafetensorsPart *parts, guint n,
                                   const gchar **sources);
/* Copies found sources into the parts' memory. */
void pipeline_safetensors_copy(const PipelineSafetensorsPart *parts, guint n, const gchar *const *sources);
/* INVALID with what a user does about a damaged checkpoint; returns FALSE. */
gboolean pipeline_safetensors_damaged(const gchar *path, const gchar *why, GError **error);

G_END_DECLS
