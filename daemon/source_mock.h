/* librdkafka's mock cluster: a broker for demo and tests, in the process that makes it, reachable by others through its
 * bootstrap address. Memory only: it keeps 5 MB a partition and then silently drops the oldest records. */
#pragma once

#include <glib.h>

G_BEGIN_DECLS

typedef struct _SourceMock SourceMock;
SourceMock *source_mock_new(GError **error);
void source_mock_free(SourceMock *mock);
const gchar *source_mock_get_bootstrap(const SourceMock *mock); /* "127.0.0.1:PORT"; the port is the system's choice */
gboolean source_mock_create_topic(SourceMock *mock, const gchar *name, gint partitions, GError **error);
/* Makes every connection fail until it is up again (for tests). */
void source_mock_set_down(SourceMock *mock, gboolean down);

G_END_DECLS
