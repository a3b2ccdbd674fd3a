/* What a simulated stream led to, in plain words, with its figures: `kedge simulate --explain`. Rows are those of the
 * stream, warm-up included, counted from 0. */
#pragma once

#include "daemon/simulate_feed.h"

G_BEGIN_DECLS

/* Several lines of text (new): drift, accuracy by phase, what was trained, what the gate said, bias. NULL with error
 * when the store cannot be read. */
gchar *simulate_story(const SimulateFeed *feed, const SimulateResult *result, GError **error);

G_END_DECLS
