/* JSON lines as a table: an object a line, as traffic is logged. */
#pragma once

#include "drift/table.h"

G_BEGIN_DECLS

/* path "-": standard input. A member is a column: numeric when every value is a number, else texts (numbers in their
 * shortest spelling, true and false as such). null and members that a line lacks are missing; an array of numbers is an
 * embedding, columns NAME[0], NAME[1], … (drift/embedding.h). Of lines that have an object "features" its members are
 * taken, and beside it prediction, score and latency_ms; what names the event is not. Blank lines are skipped and
 * counted as lines. DATA naming file, line and member: no JSON object, another nested value, two members of one name.
 * Caps: 1 MiB a line, 4096 columns, 100 million lines, 2^28 cells (UNSUPPORTED). */
DriftTable *pipeline_json_lines_read(const gchar *path, GError **error);

G_END_DECLS
