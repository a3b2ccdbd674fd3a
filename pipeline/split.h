/* Splits of the usable rows of a table: by time, at random, stratified by the label, or by the groups of a column.
 *
 *     PipelineSplit split;                                              // "time", "blocks", "shuffle", "stratified",
 * "grouped:A" pipeline_split_parse("grouped:customer", &split, &error); pipeline_split_parts(&split, table, rows,
 * (double[]){.7, .1, .2}, 3, seed, part, &error);
 *
 * The same table, split and seed give the same parts on every machine. */
#pragma once

#include "pipeline/trainer_rows.h"

G_BEGIN_DECLS

#define PIPELINE_SPLIT_NONE G_MAXUINT8 /* part of a row that is not used */
#define PIPELINE_SPLIT_MAX_PARTS 32u

typedef struct _PipelineSplitKind PipelineSplitKind;
typedef struct {
  const PipelineSplitKind *kind; /* a row of the table in split.c */
  gchar *column;                 /* owned; NULL where the kind takes none */
} PipelineSplit;

/* INVALID names what can be written. */
gboolean pipeline_split_parse(const gchar *text, PipelineSplit *split, GError **error);
void pipeline_split_clear(PipelineSplit *split);
gchar *pipeline_split_format(const PipelineSplit *split);         /* the text that parses to it; new */
gboolean pipeline_split_is_ordered(const PipelineSplit *split);   /* by time: no part sees a later one */
const gchar *pipeline_split_get_kind(const PipelineSplit *split); /* its name; borrowed */

/* Gives each usable row (rows->rows, of which the order does not matter) a part, into part [table->n_rows];
 * other rows get PIPELINE_SPLIT_NONE. shares [n_parts] are not negative and sum to 1.
 *   time        consecutive rows, part 0 first
 *   blocks      the same, but folds are trained on the blocks behind theirs too
 *   shuffle     random rows
 *   stratified  random rows, every class (of a regression: every tenth of the targets) by itself
 *   grouped     whole groups (values of the column; the missing ones are one group), largest first, each to the part
 *               that lacks most rows
 * DATA: no such column, or a part with a share above 0 gets no row. */
gboolean pipeline_split_parts(const PipelineSplit *split, const DriftTable *table, const DriftSchema *schema,
                              const PipelineTrainerRows *rows, const double *shares, guint n_parts, guint64 seed,
                              guint8 *part, GError **error);

/* k-fold forms, k >= 2. fold [table->n_rows]: the part of each row for pipeline_split_use. By time there are k + 1
 * blocks, half of the rows and k equal ones: fold f is validated on block f + 1 and trained on the blocks before it;
 * else fold f is validated on part f and trained on all others. */
gboolean pipeline_split_folds(const PipelineSplit *split, const DriftTable *table, const DriftSchema *schema,
                              const PipelineTrainerRows *rows, guint k, guint64 seed, guint8 *fold, GError **error);
typedef enum { PIPELINE_USE_NONE, PIPELINE_USE_TRAIN, PIPELINE_USE_VALIDATE } PipelineSplitUse;
PipelineSplitUse pipeline_split_use(const PipelineSplit *split, guint8 part, guint fold);

/* Orders rows->rows: training rows, then validation rows (each in row order), and sets their counts; test rows are
 * moved behind both: rows->n_test of them. A share of 0: none. Fewer validation rows than `least`: they train. */
gboolean pipeline_split_rows(const PipelineSplit *split, const DriftTable *table, const DriftSchema *schema,
                             PipelineTrainerRows *rows, double validation, double test, guint64 least, guint64 seed,
                             GError **error);

G_END_DECLS
