/* One event as all modules see it: a prediction on its way into the accumulators, and a row of the labelled log.
 *
 * Values borrow their text from the decoder's buffer (or the log segment) and are valid until its next call.
 */
#pragma once

#include <glib.h>

G_BEGIN_DECLS

typedef enum {
  DRIFT_VALUE_MISSING, /* absent, null, NaN, empty cell */
  DRIFT_VALUE_NUMBER,  /* finite or infinite double; NaN is MISSING */
  DRIFT_VALUE_TEXT     /* UTF-8, not NUL-terminated */
} DriftValueKind;

typedef struct {
  DriftValueKind kind;
  guint32 length;    /* bytes of text; 0 for numbers */
  double number;     /* valid for NUMBER */
  const gchar *text; /* valid for TEXT; borrowed */
} DriftValue;

#define DRIFT_NUMBER_TEXT_SIZE 32 /* room for any number as text */

/* NaN gives MISSING. */
DriftValue drift_value_number(double number);
/* length -1: NUL-terminated. Borrows. */
DriftValue drift_value_text(const gchar *text, gssize length);
DriftValue drift_value_missing(void);
/* TRUE with *number set for a NUMBER, and for a TEXT that spells a number as JSON does ("1", "-2.5e3"; not "01", "+1",
 * " 1", "nan", "0x1"): a code with leading zeros stays text. */
gboolean drift_value_to_number(const DriftValue *value, double *number);
/* The value as text, borrowed from the value or written into `buffer`: numbers in the shortest spelling that reads back
 * to the same double ("1", "0.1"), so that 1, "1" and "1.0" are one category; other texts as they are. *length gets the
 * bytes. NULL for MISSING. */
const gchar *drift_value_to_text(const DriftValue *value, gchar buffer[DRIFT_NUMBER_TEXT_SIZE], gsize *length);

/* A prediction. features has schema->n_features values in schema order. */
typedef struct {
  DriftValue request_id;      /* TEXT */
  gint64 event_time;          /* microseconds since the Unix epoch, from the event */
  gint64 version;             /* serving version of the model; 0: not stated */
  DriftValue prediction;      /* the predicted class or value as the event spells it */
  double score;               /* probability of the positive class (binary) or of the predicted class; NaN: absent */
  double latency_ms;          /* NaN: absent */
  const DriftValue *features; /* [n_features] */
} DriftEvent;

/* A prediction joined with its label: one row of the labelled log. */
typedef struct {
  DriftEvent event;
  gint64 traffic_offset; /* offset of the prediction in its traffic partition */
  gint64 label_offset;   /* offset of the label in its label partition */
  gint64 label_time;     /* microseconds, from the label */
  DriftValue label;      /* the true class or value as the label event spells it */
} DriftLabelledRow;

/* Appends the row's portable bytes (little-endian, version byte, length-prefixed; source: drift/README.md, "row
 * format") to `out`. n_features is written, so that a reader need not know the schema. */
void drift_labelled_row_append(GByteArray *out, const DriftLabelledRow *row, guint n_features);

/* Features above this number are refused by the reader. */
#define DRIFT_ROW_MAX_FEATURES 65535

/* Reads the row that begins at `bytes` into `row`, its values into `features` [capacity]; text borrows from `bytes`.
 * Returns the number of bytes used, or 0 with `error` set (truncated, unknown version, more than `capacity` features).
 */
gsize drift_labelled_row_parse(const guint8 *bytes, gsize length, DriftLabelledRow *row, DriftValue *features,
                               guint capacity, guint *n_features, GError **error);

G_END_DECLS
