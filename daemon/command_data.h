/* What the commands on data files share: reading a MODEL argument, column lists, the schema of a model. */
#pragma once

#include "daemon/command.h"
#include "drift/schema.h"
#include "drift/table.h"
#include "pipeline/transform.h"

G_BEGIN_DECLS

/* Metadata key of a trained model: {"accuracy", "n"} on the rows it was not fitted to. */
#define COMMAND_VALIDATION_KEY "kedge.validation"

/* A model as the user names it, with the schema of its rows. */
typedef struct {
  GBytes *onnx;
  DriftSchema *schema;
} CommandModel;
void command_model_clear(CommandModel *model);

/* reference: NAME@ALIAS, NAME/VERSION (from the registry) or a file "….onnx". A file's schema is the one it carries
 * (metadata key kedge.schema); without one it is inferred from the graph, `table` and `label`
 * (pipeline_model_infer_schema); table NULL: an error that says so. */
gboolean command_load_model(const CommandCommon *common, const gchar *reference, const DriftTable *table,
                            const gchar *label, CommandModel *model, GError **error);

/* FALSE without an error: the file "….onnx" carries no schema. */
gboolean command_has_schema(const gchar *path, GError **error);
/* New: the bytes of such a model alone, whatever its inputs are; a file's data that lie beside it are read in. */
GBytes *command_read_onnx(const CommandCommon *common, const gchar *reference, GError **error);

/* "A,B" → NULL-terminated list (new); NULL → empty list. */
gchar **command_split_names(const gchar *names);
/* Infers the schema of a table; FALSE on a column named by --sensitive or --exclude that is not there. A column that is
 * excluded and sensitive stays in the schema, unseen by the model. positive: class, or NULL. */
DriftSchema *command_infer_schema(const DriftTable *table, const gchar *label, const gchar *sensitive,
                                  const gchar *exclude, const gchar *positive, GError **error);
/* By the end of its name: .npy an array, column "x" or "x[0]", "x[1]", … (pipeline/npy.h); .npz arrays by name
 * (pipeline_npz_read_table); .jsonl and .ndjson JSON
 * lines (pipeline/json_lines.h); else a CSV with a header ("-": of standard input). */
DriftTable *command_read_table(const gchar *path, GError **error);
/* The rows for a model: of a CSV, columns that the model takes as texts are texts whatever they look like ("1.0" is the
 * category "1.0"). */
DriftTable *command_read_rows(const CommandCommon *common, const gchar *reference, const gchar *path, GError **error);
/* A plan of transformations: a file "….json", or what pipeline_plan_parse reads. */
PipelinePlan *command_read_plan(const gchar *text, GError **error);
/* "key=value" texts (NULL: none) as a table; NULL: *bad is the text that is not one. */
GHashTable *command_parse_pairs(gchar **texts, const gchar **bad);

G_END_DECLS
