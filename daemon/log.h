/* Where kedged's log goes. Parts of the daemon log by g_log_structured with fields in capitals:
 *   g_log_structured(G_LOG_DOMAIN, G_LOG_LEVEL_WARNING, "MODEL", model, "PARTITION", "0",
 *                    "MESSAGE", "the checkpoint is late by %.1f s", seconds);
 * Values are strings; only MESSAGE, the last, is a format.
 * Fields in use: MODEL, PARTITION, INCIDENT, VERDICT, JOB, VERSION, TOPIC, OFFSET, COMPONENT. */
#pragma once

#include <glib.h>

G_BEGIN_DECLS

/* To journald with all fields when standard error is connected to it; else lines "TIME LEVEL MESSAGE FIELD=value …" on
 * standard error. Debug messages only with KEDGE_DEBUG=1. To be called once, before other threads start. */
void log_start(void);

G_END_DECLS
