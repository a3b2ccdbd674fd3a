/* `kedge bias` as a function: a table in, a report out. The report is what --json prints, what the tables are printed
 * from and what the HTML page is made from. */
#pragma once

#include <glib.h>
#include <jansson.h>

#include "drift/table.h"

G_BEGIN_DECLS

typedef struct {
  const DriftTable *data;
  const gchar *data_name; /* file name, for messages and the report */
  const gchar *label, *prediction;
  const gchar *score;            /* column, or NULL */
  const gchar *strata;           /* column of conditional disparity, or NULL */
  const gchar *favourable;       /* class, or NULL: the larger of the two */
  const gchar *const *sensitive; /* columns, 1 to BIAS_MAX_ATTRIBUTES: each alone and every crossing is reported */
  const gchar *const *reference; /* "ATTRIBUTE=GROUP", NULL-terminated, or NULL: the largest group */
  const gchar *const *bounds;    /* "METRIC=VALUE", NULL-terminated, or NULL */
  double confidence;
  gint minimum_group;
  gboolean certain; /* a bound is breached only by the whole interval */
} BiasRequest;
#define BIAS_MAX_ATTRIBUTES 4u

/* NULL with an error that names the column, class, group or metric. "breached" of the report is the answer. New. */
json_t *bias_report(const BiasRequest *request, GError **error);
/* Tables for a terminal. */
void bias_print(json_t *report);
/* A page that needs no network. New text. */
gchar *bias_html(const json_t *report);

/* --- between the files -------------------------------------------------------------------------------------------- */
/* Rates shown in the tables, in order; NULL-terminated. */
extern const gchar *const bias_shown_rates[];
/* "0.417 [0.392, 0.443]", or "–" when undefined. New. */
gchar *bias_value_text(const json_t *value);
/* Whose figure a metric is: "Asian, African-American" (the convention says which less or over which), "Asian" or "".
 * New. */
gchar *bias_groups_text(const json_t *metric);
/* What is shown of each group against the reference group: a rate's difference or ratio; ends with NULL. */
typedef struct {
  const gchar *title, *rate, *form; /* form: "difference" or "ratio" */
} BiasComparison;
extern const BiasComparison bias_shown_comparisons[];

G_END_DECLS
