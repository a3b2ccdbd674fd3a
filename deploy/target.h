/* Where a promoted version goes. One table of target types; applying is idempotent and atomic (rename). */
#pragma once

#include <glib.h>

G_BEGIN_DECLS

#define DEPLOY_ERROR (deploy_error_quark())
GQuark deploy_error_quark(void);
typedef enum { DEPLOY_ERROR_INVALID, DEPLOY_ERROR_UNREACHABLE, DEPLOY_ERROR_REFUSED, DEPLOY_ERROR_IO } DeployError;

typedef struct {
  const gchar *type;   /* "directory", "triton" */
  const gchar *path;   /* directory or Triton model repository */
  const gchar *url;    /* base URL of the load call; NULL: none */
  guint keep_versions; /* older version folders kept; default 3 (0: none) */
} DeployTargetSettings;

/* One input or output of the graph, for servers that want it in their configuration (Triton's config.pbtxt). */
typedef struct {
  const gchar *name;
  const gchar *type; /* ONNX element type: "float32", "int64", "string", … (deploy/target_triton.c has the table) */
  const gint64 *dimensions; /* [n_dimensions], the batch dimension included; -1: any size */
  guint n_dimensions;
} DeployTensor;

typedef struct {
  const gchar *model;
  gint64 version;
  GBytes *onnx;
  const DeployTensor *inputs, *outputs; /* optional; without them Triton completes its configuration from the ONNX */
  guint n_inputs, n_outputs;
} DeployRelease;

typedef struct {
  const gchar *type, *summary;
  gboolean (*apply)(const DeployTargetSettings *settings, const DeployRelease *release, GError **error);
} DeployTargetType;
extern const DeployTargetType *const deploy_target_types[]; /* NULL-terminated */
gboolean deploy_target_apply(const DeployTargetSettings *settings, const DeployRelease *release, GError **error);

G_END_DECLS
