/* What the files of profiles share. */
#pragma once

#include "drift/profile.h"

G_BEGIN_DECLS

/* The limit that a measured rate gives: three standard errors above it, 0 where it is 0. */
double drift_profile_limit(guint64 count, guint64 n);
/* DriftProfileCategory **: most frequent first, then by bytes. */
gint drift_profile_compare_categories(gconstpointer a, gconstpointer b);
/* Its categories as a set, numbers in their shortest spelling. */
GHashTable *drift_profile_category_set(const DriftColumnProfile *profile);
GPtrArray *drift_profile_violations_new(void);
/* Takes example; column NULL: of the whole table. */
void drift_profile_add_violation(GPtrArray *violations, DriftViolationKind kind, const gchar *column, guint64 count,
                                 gint64 row, gchar *example);

G_END_DECLS
