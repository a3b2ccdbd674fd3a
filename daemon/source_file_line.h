/* The lines of a file topic. A plain line is the record's value. A line that begins with the byte 0x1E carries more:
 *
 *   0x1E {"key": "k", "headers": ["name", "value", …], "base64": true} 0x1E VALUE
 *
 * base64: VALUE is encoded, because as it is it could not stand in a line (a newline, or a 0x1E at its beginning).
 */
#pragma once

#include <glib.h>

G_BEGIN_DECLS

typedef struct {
  const guint8 *value; /* borrows from the text, or from `decoded` */
  gsize value_length;
  guint8 *decoded; /* owned or NULL */
  gchar *key;      /* owned or NULL */
  gchar **headers; /* name, value, …, NULL; owned or NULL */
} SourceFileLine;
void source_file_line_clear(SourceFileLine *line);
/* `text` without its newline. A damaged preamble gives the whole line as value: the decoder then refuses it aloud. */
void source_file_line_parse(const gchar *text, gsize length, SourceFileLine *line);
/* With the newline (new). NULL: a key or header that is not UTF-8. */
GString *source_file_line_format(const gchar *key, GBytes *value, const gchar *const *headers);

G_END_DECLS
