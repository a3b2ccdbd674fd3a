/* The journal of a search: a JSON object a line, on disk (fsync) before the next step. The first line says which search
 * it is. One process at a time holds it (flock). */
#pragma once

#include "pipeline/search_state.h"

G_BEGIN_DECLS

typedef struct _PipelineSearchJournal PipelineSearchJournal;
/* Opens or makes the file; its events are applied to `state`. A last line without an end is what a crash left of a
 * write: it is cut off. header: what the first line must say; INVALID names the member that differs. must_be_new:
 * INVALID when there are events. DATA, naming the line: damaged in front of its end. INVALID: another process holds it.
 */
PipelineSearchJournal *pipeline_search_journal_open(const gchar *path, const json_t *header, gboolean must_be_new,
                                                    PipelineSearchState *state, GError **error);
void pipeline_search_journal_free(PipelineSearchJournal *journal);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(PipelineSearchJournal, pipeline_search_journal_free)
/* Writes the event (borrowed), then applies it. */
gboolean pipeline_search_journal_add(PipelineSearchJournal *journal, const json_t *event, PipelineSearchState *state,
                                     GError **error);

G_END_DECLS
