/* Shared by daemon/metrics.c and daemon/metrics_process.c only. */
#pragma once

#include "daemon/metrics.h"

G_BEGIN_DECLS

/* Sets the process_… metrics from /proc/self. What cannot be read keeps its last value. */
void metrics_update_process(Metrics *metrics);

G_END_DECLS
