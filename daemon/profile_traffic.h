/* The traffic that the store remembers of a model, as one accumulator: what `kedge profile --model` looks at. */
#pragma once

#include "drift/accumulator.h"
#include "registry/artifact.h"
#include "registry/store.h"

G_BEGIN_DECLS

typedef struct {
  DriftAccumulator *sum;
  guint n_panes;
  gint64 first_time, last_time; /* microseconds: event times of the panes taken */
} ProfileTraffic;
void profile_traffic_clear(ProfileTraffic *traffic);

/* The sum of all stored panes of the model with an event in [from, to) (microseconds; G_MININT64 and G_MAXINT64: no
 * bound). Panes are taken whole, so that events somewhat before and after may be in it. An error when there is none. */
gboolean profile_traffic_read(RegistryStore *store, RegistryArtifacts *artifacts, const gchar *model, gint64 from,
                              gint64 to, ProfileTraffic *traffic, GError **error);

G_END_DECLS
