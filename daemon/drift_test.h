/* `kedge drift test` as a function: two tables in, a report out. The report is what --json prints and what the HTML
 * page is made from. */
#pragma once

#include <glib.h>
#include <jansson.h>

#include "drift/table.h"

G_BEGIN_DECLS

typedef struct {
  const DriftTable *reference, *current;
  const gchar *reference_name, *current_name; /* file names, for messages and the report */
  const gchar *const *columns;                /* NULL or empty: all of the reference */
  const gchar *const *embeddings;             /* names of vectors, columns NAME[0], NAME[1], …; NULL: none */
  const gchar *const *methods;                /* NULL or empty: "auto", and a method of rows on the embeddings */
  GHashTable *options;                        /* text -> text */
  gboolean timeline;                          /* auto: also the evidence of stretches of the current rows in order */
  guint slices;                               /* auto: as many worst slices of each kind, and dependences; 0: none */
  const gchar *label;                         /* NULL, or a column of both tables: then also slices of losses, by */
  const gchar *prediction, *score;            /* one of the two: classes or values, or probabilities of label 1 */
} DriftTestRequest;

/* The options of the command itself: "key=default  meaning", NULL-terminated. */
extern const gchar *const drift_test_option_help[];
/* Those of the methods that take whole rows (drift/multivariate.h). */
extern const gchar *const drift_test_rows_option_help[];

/* Before a request: columns that are numbers as text on one side ("1.5", as JSON may have them) become numbers, and
 * those without a value get the other side's kind. */
void drift_test_match_kinds(DriftTable *reference, DriftTable *current);

/* NULL with an error: a column that is missing, text where the reference has numbers (with its line), an option that no
 * chosen method has. "drift" of the report is the answer: true, false, or null where
 * nothing could be tested. "quality" (auto): more values are missing, unseen or out of range. New reference. */
json_t *drift_test_report(const DriftTestRequest *request, GError **error);

/* A page that needs no network: distributions before and after, evidence, causes. New text. */
gchar *drift_test_html(const json_t *report);

/* The lists of "slices" in the report, ending with a NULL name, and what a reader must know of one; new text. */
typedef struct {
  const gchar *name, *title;
} DriftTestSliceList;
extern const DriftTestSliceList drift_test_slice_lists[];
gchar *drift_test_slice_remark(const json_t *slices, const gchar *list);

G_END_DECLS
