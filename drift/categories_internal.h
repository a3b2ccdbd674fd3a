/* The categories of one quantity: texts by code, and look-up without allocation. A number and every JSON spelling of it
 * are one category ("1", "1.0", 1). */
#pragma once

#include "drift/row.h"

G_BEGIN_DECLS

typedef struct _DriftCategories DriftCategories;

/* Texts in order of their codes; copied, made canonical. A text that spells an earlier one keeps its code but is never
 * found. */
DriftCategories *drift_categories_new(const gchar *const *texts, guint n);
void drift_categories_free(DriftCategories *categories);
guint drift_categories_n(const DriftCategories *categories);
const gchar *drift_categories_get(const DriftCategories *categories, guint code);
/* The code, or -1. */
gint drift_categories_find(const DriftCategories *categories, const DriftValue *value);

G_END_DECLS
