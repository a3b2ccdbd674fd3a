/* Recomputing a stored verdict from what it was computed from. */
#pragma once

#include "daemon/settings.h"
#include "registry/artifact.h"
#include "registry/store.h"

G_BEGIN_DECLS

typedef struct {
  gchar *verdict, *kind;
  gboolean identical; /* the body recomputed from the panes is the stored one, byte for byte */
  gchar *difference;  /* first place where they differ, or NULL */
  guint n_panes;
  guint panes_compared; /* panes counted again from the source's events */
  guint panes_identical;
  gchar *events; /* why events were not (all) compared, or NULL */
} ReplayResult;
void replay_result_clear(ReplayResult *result);

/* By incident id (its opening verdict) or verdict id. settings: where the events are; NULL: from the panes only. */
gboolean replay(RegistryStore *store, RegistryArtifacts *artifacts, const Settings *settings, const gchar *id,
                ReplayResult *result, GError **error);

/* replay_events.c: counts the traffic panes again from the events that the source still has. */
gboolean replay_events(RegistryStore *store, RegistryArtifacts *artifacts, const Settings *settings, const gchar *model,
                       const gchar *panes_json, ReplayResult *result, GError **error);

G_END_DECLS
