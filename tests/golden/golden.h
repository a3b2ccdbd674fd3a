/* Reference values of other libraries: every case of GOLDENS/FAMILY.json is computed through drift/'s public functions
 * and compared. One file per family (kind_*.c), each kind a line in families.c. The frame watches that every expected
 * number was compared or was declared informative: a forgotten one fails the case. */
#pragma once

#include <glib.h>
#include <jansson.h>

G_BEGIN_DECLS

typedef struct _GoldenContext GoldenContext;

typedef struct {
  const gchar *kind;
  /* Computes the case and compares; FALSE when it could not be computed (say why by golden_fail). */
  gboolean (*run)(const json_t *golden_case, GoldenContext *context);
} GoldenKind;

extern const GoldenKind golden_kinds[]; /* ends with a NULL kind */

/* A column of a CSV, path relative to GOLDENS ("data/x.csv"); borrowed until the case ends. Empty cell: NaN or "".
 * A file or column that is not there, or text where a number is asked for: the case fails and *n is 0. */
const double *golden_column(GoldenContext *context, const gchar *path, const gchar *column, gsize *n);
const gchar *const *golden_column_text(GoldenContext *context, const gchar *path, const gchar *column, gsize *n);
/* NULL-terminated. */
const gchar *const *golden_column_names(GoldenContext *context, const gchar *path);
/* The column named by inputs.column in the file of inputs.ROLE. */
const double *golden_input(GoldenContext *context, const json_t *golden_case, const gchar *role, gsize *n);
const gchar *const *golden_input_text(GoldenContext *context, const json_t *golden_case, const gchar *role, gsize *n);

/* A list of numbers of params or expected as doubles ("nan", "inf", "-inf" too); borrowed until the case ends. */
const double *golden_numbers(GoldenContext *context, const json_t *list, gsize *n);

/* Compares with object[key] under the case's tolerance: |value - expected| <= abs + rel |expected|. {"error": …} asks
 * for NaN, null asks for nothing; a key that is not there is no comparison (families leave out what does not apply).
 * _within: other keys of `tolerance`, the first present wins; lists end with NULL, NULL is rel or abs. */
gboolean golden_compare(GoldenContext *context, const json_t *object, const gchar *key, double value);
gboolean golden_compare_within(GoldenContext *context, const json_t *object, const gchar *key, double value,
                               const gchar *relative_key, const gchar *absolute_key);
gboolean golden_compare_list(GoldenContext *context, const json_t *object, const gchar *key, const double *values,
                             gsize n);
gboolean golden_compare_boolean(GoldenContext *context, const json_t *object, const gchar *key, gboolean value);
gboolean golden_compare_text(GoldenContext *context, const json_t *object, const gchar *key, const gchar *value);
/* The case's tolerance KEY (0 when it has none), for comparisons of one's own. */
double golden_tolerance(const GoldenContext *context, const gchar *key);
/* No relative tolerance of this case is smaller, where the family says so in words. */
void golden_loosen(GoldenContext *context, double relative);
/* object[key] has been looked at by a comparison of one's own. */
void golden_seen(GoldenContext *context, const json_t *object, const gchar *key);

/* object[key] and all below it is information, not a norm. */
void golden_informative(GoldenContext *context, const json_t *object, const gchar *key);
/* The whole case is information: counted as informative whatever comes out; lines are printed with --verbose. */
void golden_informative_case(GoldenContext *context);
void golden_fail(GoldenContext *context, const gchar *format, ...) G_GNUC_PRINTF(2, 3);
/* Printed with --verbose. */
void golden_note(GoldenContext *context, const gchar *format, ...) G_GNUC_PRINTF(2, 3);

/* --- between the files of the frame ------------------------------------------------------------------------------- */
GoldenContext *golden_context_new(const gchar *folder);
void golden_context_free(GoldenContext *context);
void golden_context_begin(GoldenContext *context, const json_t *golden_case);
/* Looks for expected leaves that nobody compared. */
void golden_context_check_seen(GoldenContext *context, const json_t *golden_case);
gboolean golden_context_is_informative(const GoldenContext *context);
const GPtrArray *golden_context_get_failures(const GoldenContext *context); /* of gchar* */
const GPtrArray *golden_context_get_notes(const GoldenContext *context);

G_END_DECLS
