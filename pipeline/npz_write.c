/* Beside npz.c the only file that includes zip.h. */
#include "pipeline/npz_write.h"
#include "pipeline/output_file.h"

#include <string.h>
#include <zip.h>

#define ALIGNMENT 64u /* of the first value in a member, as NumPy writes */
#define MAX_MEMBER_BYTES (G_MAXUINT32 - 4096u)
#define FIRST_DOS_DATE 33 /* 1980-01-01, the earliest a zip file can say */

typedef struct {
  gchar *name; /* with ".npy" */
  GByteArray *bytes;
} Member;

struct _PipelineNpzWriter {
  GPtrArray *members; /* of Member* */
  gchar *too_large;   /* name of an array that a member cannot hold, or NULL */
};

static void member_free(gpointer data)
{
  Member *member = data;
  g_free(member->name);
  g_byte_array_unref(member->bytes);
  g_free(member);
}

PipelineNpzWriter *pipeline_npz_writer_new(void)
{
  PipelineNpzWriter *writer = g_new0(PipelineNpzWriter, 1);
  writer->members = g_ptr_array_new_with_free_func(member_free);
  return writer;
}

void pipeline_npz_writer_free(PipelineNpzWriter *writer)
{
  if (!writer) return;
  g_ptr_array_unref(writer->members);
  g_free(writer->too_large);
  g_free(writer);
}

/* The header of format version 1.0, and then the values. */
static void add(PipelineNpzWriter *writer, const gchar *name, const gchar *type, guint n_dims, const guint64 *dims,
                gconstpointer values, gsize element_size)
{
  static const guint8 magic[] = {0x93, 'N', 'U', 'M', 'P', 'Y', 1, 0};
  g_autoptr(GString) header = g_string_new(NULL);
  gsize n = 1;
  g_string_printf(header, "{'descr': '%s', 'fortran_order': False, 'shape': (", type);
  for (guint d = 0; d < n_dims; d++) {
    g_string_append_printf(header, "%" G_GUINT64_FORMAT "%s", dims[d], d + 1 < n_dims || n_dims == 1 ? "," : "");
    n *= dims[d];
  }
  if (n > MAX_MEMBER_BYTES / element_size) {
    g_free(writer->too_large);
    writer->too_large = g_strdup(name);
    return;
  }
  g_string_append(header, "), }");
  while ((sizeof magic + 2 + header->len + 1) % ALIGNMENT != 0) g_string_append_c(header, ' ');
  g_string_append_c(header, '\n');
  const guint8 length[] = {(guint8)(header->len & 255), (guint8)(header->len >> 8)};
  Member *member = g_new0(Member, 1);
  member->name = g_strdup_printf("%s.npy", name);
  member->bytes = g_byte_array_new();
  g_byte_array_append(member->bytes, magic, sizeof magic);
  g_byte_array_append(member->bytes, length, sizeof length);
  g_byte_array_append(member->bytes, (const guint8 *)header->str, (guint)header->len);
  g_byte_array_append(member->bytes, values, (guint)(n * element_size));
  g_ptr_array_add(writer->members, member);
}

void pipeline_npz_writer_add_floats(PipelineNpzWriter *writer, const gchar *name, guint n_dims, const guint64 *dims,
                                    const float *values)
{
  add(writer, name, "<f4", n_dims, dims, values, sizeof(float));
}

void pipeline_npz_writer_add_integers(PipelineNpzWriter *writer, const gchar *name, guint n_dims, const guint64 *dims,
                                      const gint64 *values)
{
  add(writer, name, "<i8", n_dims, dims, values, sizeof(gint64));
}

void pipeline_npz_writer_add_doubles(PipelineNpzWriter *writer, const gchar *name, guint n_dims, const guint64 *dims,
                                     const double *values)
{
  add(writer, name, "<f8", n_dims, dims, values, sizeof(double));
}

void pipeline_npz_writer_add_texts(PipelineNpzWriter *writer, const gchar *name, const gchar *const *texts, guint64 n)
{
  glong width = 1;
  for (guint64 i = 0; i < n; i++) width = MAX(width, g_utf8_strlen(texts[i], -1));
  g_autofree gunichar *letters = g_new0(gunichar, MAX(n, 1) * (gsize)width);
  for (guint64 i = 0; i < n; i++) {
    glong length = 0;
    g_autofree gunichar *wide = g_utf8_to_ucs4_fast(texts[i], -1, &length);
    memcpy(letters + i * (gsize)width, wide, (gsize)length * sizeof(gunichar));
  }
  g_autofree gchar *type = g_strdup_printf("<U%ld", width);
  add(writer, name, type, 1, &n, letters, (gsize)width * sizeof(gunichar));
}

static gboolean add_members(PipelineNpzWriter *writer, zip_t *archive)
{
  for (guint i = 0; i < writer->members->len; i++) {
    const Member *member = g_ptr_array_index(writer->members, i);
    zip_source_t *source = zip_source_buffer(archive, member->bytes->data, member->bytes->len, 0);
    if (source == NULL) return FALSE;
    zip_int64_t index = zip_file_add(archive, member->name, source, ZIP_FL_ENC_UTF_8);
    if (index < 0) {
      zip_source_free(source);
      return FALSE;
    }
    if (zip_set_file_compression(archive, (zip_uint64_t)index, ZIP_CM_STORE, 0) != 0 ||
        zip_file_set_dostime(archive, (zip_uint64_t)index, 0, FIRST_DOS_DATE, 0) != 0)
      return FALSE;
  }
  return TRUE;
}

gboolean pipeline_npz_writer_write(PipelineNpzWriter *writer, const gchar *path, GError **error)
{
  int code = 0;
  if (writer->too_large) {
    g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_UNSUPPORTED,
                "cannot write %s: the array '%s' is larger than 4 GiB; prepare fewer rows", path, writer->too_large);
    return FALSE;
  }
  /* libzip renames its temporary file over the path: never over a device. */
  if (g_file_test(path, G_FILE_TEST_EXISTS) && !g_file_test(path, G_FILE_TEST_IS_REGULAR)) {
    g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_DATA, "cannot write %s: an archive needs a regular file", path);
    return FALSE;
  }
  zip_t *archive = zip_open(path, ZIP_CREATE | ZIP_TRUNCATE, &code);
  if (archive == NULL) {
    zip_error_t cause;
    zip_error_init_with_code(&cause, code);
    g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_DATA, "cannot write %s: %s", path, zip_error_strerror(&cause));
    zip_error_fini(&cause);
    return FALSE;
  }
  if (add_members(writer, archive) && zip_close(archive) == 0) return TRUE;
  g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_DATA, "cannot write %s: %s", path, zip_strerror(archive));
  zip_discard(archive);
  return FALSE;
}

gboolean pipeline_npz_writer_write_npy(PipelineNpzWriter *writer, const gchar *path, GError **error)
{
  g_return_val_if_fail(writer->members->len > 0 || writer->too_large, FALSE);
  if (writer->too_large) {
    g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_UNSUPPORTED, "cannot write %s: the array is larger than 4 GiB",
                path);
    return FALSE;
  }
  const Member *member = g_ptr_array_index(writer->members, 0);
  return pipeline_output_file_write(path, member->bytes->data, member->bytes->len, error);
}
