/* What each part of the daemon says of itself. Thread-safe. `/readyz`, STATUS= and the watchdog read it. */
#pragma once

#include <glib.h>

G_BEGIN_DECLS

typedef struct _Health Health;
Health *health_new(void);
void health_free(Health *health);
/* The component ("consumer", "leader", "http", "outbox") made progress just now (monotonic clock). */
void health_beat(Health *health, const gchar *component);
/* ready FALSE: text says why and what to do; ready TRUE: text may be NULL. */
void health_set(Health *health, const gchar *component, gboolean ready, const gchar *text);
/* TRUE when every component known is ready; else *why is new text, one line a component. why may be NULL. */
gboolean health_is_ready(Health *health, gchar **why);
/* TRUE when every component has beaten within max_silence_us; else *who names the silent ones (new). */
gboolean health_is_alive(Health *health, gint64 max_silence_us, gchar **who);
/* One line for STATUS= (new). */
gchar *health_summary(Health *health);
/* For tests: replaces the monotonic clock (microseconds); before the first use only. */
void health_set_clock(Health *health, gint64 (*get_time)(void));

G_END_DECLS
