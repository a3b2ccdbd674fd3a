/* For verify.c and its table: what each table promises. */
#pragma once

#include "registry/audit.h"

G_BEGIN_DECLS

typedef struct {
  RegistryStore *store;
  RegistryArtifacts *artifacts; /* NULL: files are not looked at */
  GPtrArray *findings;
  guint64 checked;
  gint64 audit_head;   /* sequence when the walk began: later records are of changes made meanwhile */
  GHashTable *audited; /* "table:subject" → VerifyRecord: the last record of each row */
} Verify;

typedef struct {
  gint64 sequence;
  gchar *digest;
  gboolean seen;
} VerifyRecord;

void verify_report(Verify *verify, const gchar *format, ...) G_GNUC_PRINTF(2, 3);

/* Rows are read by group (a model, a partition of it, …) and within it in order of number, in pages. */
typedef struct {
  const gchar *table;
  const gchar *groups; /* SQL: the groups' keys, 1 to 3 columns, handed to the other texts as $1… */
  guint n_keys;
  /* SQL with two more parameters: first number, then limit. Columns: number, number after this row, digest (NULL: it is
   * in the audit chain under the subject), subject, then what the digest covers. */
  const gchar *rows;
  gint64 first;       /* number of the first row; rows follow each other without gaps. -1: not numbered */
  const gchar *start; /* SQL: where the rows must begin at the latest (sealed rows may go on lying there); or NULL */
  gboolean (*check)(Verify *verify, const RegistryRows *rows, guint row, GError **error); /* more, or NULL */
} VerifyTable;

#define VERIFY_CONTENT 4                  /* first column that the digest covers */
extern const VerifyTable verify_tables[]; /* ends with table NULL */

G_END_DECLS
