/* Registering a model: what `kedge model add` does, also called by the simulator. */
#pragma once

#include <jansson.h>

#include "registry/artifact.h"
#include "registry/store.h"

G_BEGIN_DECLS

typedef struct {
  const gchar *name;
  const gchar *onnx_path;
  const gchar *reference_path; /* CSV with the label */
  const gchar *label;
  const gchar *positive_class;   /* NULL: as inferred */
  const gchar *const *sensitive; /* NULL-terminated */
  const gchar *const *exclude;   /* NULL-terminated */
} ModelImport;

/* Infers the schema, loads the model, predicts the reference, makes grid and profile, and writes the artifacts; then
 * model, version 1 and its promotion to champion in one transaction. CONFLICT when the name is taken.
 * Returns what `kedge model add --json` prints. */
json_t *model_import(RegistryStore *store, RegistryArtifacts *artifacts, const ModelImport *import, const gchar *actor,
                     GError **error);

G_END_DECLS
