/* One column of a CSV as a stream of numbers, a record at a time: memory does not grow with the file, and a pipe is
 * read as it fills. Or of a .npy array, which is read whole. */
#pragma once

#include <glib.h>

G_BEGIN_DECLS

typedef struct _NumberStream NumberStream;

/* path "-": standard input. column NULL: the only one. A file of one column may lack its header if its first line is a
 * number. A path that ends in .npy: the column "x" of one dimension, "x[0]", "x[1]", … of two. Errors name the file
 * and, where it has them, the columns. */
NumberStream *number_stream_open(const gchar *path, const gchar *column, GError **error);
/* The next row's number; an empty cell is NaN. FALSE at the end, and with error set when the row is wrong:
 * FILE:LINE: column "X": "x7" is not a number. */
gboolean number_stream_next(NumberStream *stream, double *number, GError **error);
/* The next 1 to `most` numbers that are there without waiting; how many, 0 as FALSE of number_stream_next. */
guint number_stream_next_many(NumberStream *stream, double *numbers, guint most, GError **error);
const gchar *number_stream_get_column(const NumberStream *stream);
void number_stream_close(NumberStream *stream);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(NumberStream, number_stream_close)

G_END_DECLS
