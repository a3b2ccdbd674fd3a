/* Archives through libzip: the only file that includes zip.h. */
#include "pipeline/npz.h"

#include <string.h>
#include <zip.h>

#include "pipeline/error.h"
#include "pipeline/npy_internal.h"

#define MAX_MEMBER_BYTES ((guint64)4 << 30)
#define MAX_STREAM_BYTES ((guint64)1 << 44) /* read row by row */
#define MOST_PACKED 1100                    /* deflate packs at most 1 to 1032: what claims more is a bomb */

typedef struct {
  gchar *name; /* owned */
  zip_uint64_t index;
} Member;

struct _PipelineNpz {
  gchar *path;
  zip_t *archive;
  GArray *members; /* of Member */
};

static gboolean fail(const PipelineNpz *npz, gint code, GError **error, const gchar *format, ...) G_GNUC_PRINTF(4, 5);
static gboolean fail(const PipelineNpz *npz, gint code, GError **error, const gchar *format, ...)
{
  va_list arguments;
  va_start(arguments, format);
  g_autofree gchar *what = g_strdup_vprintf(format, arguments);
  va_end(arguments);
  g_set_error(error, PIPELINE_ERROR, code, "%s: %s", npz->path, what);
  return FALSE;
}

static void member_clear(gpointer data)
{
  g_free(((Member *)data)->name);
}

/* --- the directory ------------------------------------------------------------------------------------------------ */

static gboolean open_archive(PipelineNpz *npz, GError **error)
{
  int code = 0;
  npz->archive = zip_open(npz->path, ZIP_RDONLY | ZIP_CHECKCONS, &code);
  if (npz->archive != NULL) return TRUE;
  zip_error_t cause;
  zip_error_init_with_code(&cause, code);
  fail(npz, PIPELINE_ERROR_DATA, error, "no .npz file that can be read: %s", zip_error_strerror(&cause));
  zip_error_fini(&cause);
  return FALSE;
}

static gboolean list_members(PipelineNpz *npz, GError **error)
{
  zip_int64_t n = zip_get_num_entries(npz->archive, 0);
  if (n > PIPELINE_NPZ_MAX_MEMBERS)
    return fail(npz, PIPELINE_ERROR_UNSUPPORTED, error, "%" G_GINT64_FORMAT " members; at most %u are read", n,
                PIPELINE_NPZ_MAX_MEMBERS);
  for (zip_int64_t i = 0; i < n; i++) {
    const gchar *name = zip_get_name(npz->archive, (zip_uint64_t)i, ZIP_FL_ENC_RAW);
    if (name == NULL || !g_str_has_suffix(name, ".npy")) continue; /* no array */
    if (!g_utf8_validate(name, -1, NULL))
      return fail(npz, PIPELINE_ERROR_DATA, error, "the name of a member is no UTF-8 text");
    Member member = {.name = g_strndup(name, strlen(name) - 4), .index = (zip_uint64_t)i};
    g_array_append_val(npz->members, member);
  }
  return npz->members->len > 0 || fail(npz, PIPELINE_ERROR_DATA, error, "it holds no array");
}

PipelineNpz *pipeline_npz_open(const gchar *path, GError **error)
{
  g_autoptr(PipelineNpz) npz = g_new0(PipelineNpz, 1);
  npz->path = g_strdup(path);
  npz->members = g_array_new(FALSE, TRUE, sizeof(Member));
  g_array_set_clear_func(npz->members, member_clear);
  if (!open_archive(npz, error) || !list_members(npz, error)) return NULL;
  return g_steal_pointer(&npz);
}

void pipeline_npz_free(PipelineNpz *npz)
{
  if (npz == NULL) return;
  if (npz->archive != NULL) zip_discard(npz->archive);
  g_array_unref(npz->members);
  g_free(npz->path);
  g_free(npz);
}

guint pipeline_npz_get_n_arrays(const PipelineNpz *npz)
{
  return npz->members->len;
}

const gchar *pipeline_npz_get_name(const PipelineNpz *npz, guint index)
{
  return g_array_index(npz->members, Member, index).name;
}

/* --- members ------------------------------------------------------------------------------------------------------ */

/* What the directory says of a member is believed within bounds only: memory is taken before a byte is unpacked. */
static gboolean check_member(const PipelineNpz *npz, const Member *member, guint64 limit, zip_stat_t *status,
                             GError **error)
{
  const zip_uint64_t needed = ZIP_STAT_SIZE | ZIP_STAT_COMP_SIZE | ZIP_STAT_COMP_METHOD | ZIP_STAT_ENCRYPTION_METHOD;
  if (zip_stat_index(npz->archive, member->index, 0, status) != 0 || (status->valid & needed) != needed)
    return fail(npz, PIPELINE_ERROR_DATA, error, "the array '%s' has no size", member->name);
  gboolean known = status->comp_method == ZIP_CM_STORE || status->comp_method == ZIP_CM_DEFLATE;
  if (status->encryption_method != ZIP_EM_NONE || !known)
    return fail(npz, PIPELINE_ERROR_UNSUPPORTED, error, "the array '%s' is encrypted or packed by another method",
                member->name);
  if (status->size > limit)
    return fail(npz, PIPELINE_ERROR_UNSUPPORTED, error, "the array '%s' is larger than %" G_GUINT64_FORMAT " GiB",
                member->name, limit >> 30);
  guint64 most = status->comp_method == ZIP_CM_STORE ? 1 : MOST_PACKED;
  return status->size / most <= status->comp_size ||
         fail(npz, PIPELINE_ERROR_DATA, error, "the array '%s' says that it is larger than it can be", member->name);
}

/* libzip compares the checksum when the last byte has been read, hence the byte more that is asked for. */
static gboolean unpack(const PipelineNpz *npz, const Member *member, guint8 *bytes, guint64 size, GError **error)
{
  zip_file_t *file = zip_fopen_index(npz->archive, member->index, 0);
  if (file == NULL)
    return fail(npz, PIPELINE_ERROR_DATA, error, "the array '%s' cannot be read: %s", member->name,
                zip_strerror(npz->archive));
  zip_int64_t n = 0;
  guint64 held = 0;
  guint8 spare;
  while (held < size && (n = zip_fread(file, bytes + held, size - held)) > 0) held += (guint64)n;
  if (n >= 0 && held == size) n = zip_fread(file, &spare, 1);
  gboolean whole = n == 0 && held == size;
  if (!whole)
    fail(npz, PIPELINE_ERROR_DATA, error, "the array '%s' is damaged: %s", member->name,
         n < 0 ? zip_file_strerror(file) : "it has another size than it says");
  zip_fclose(file);
  return whole;
}

static PipelineArray *read_member(const PipelineNpz *npz, const Member *member, GError **error)
{
  zip_stat_t status;
  if (!check_member(npz, member, MAX_MEMBER_BYTES, &status, error)) return NULL;
  g_autofree guint8 *bytes = g_try_malloc(MAX(status.size, 1));
  if (bytes == NULL) {
    fail(npz, PIPELINE_ERROR_UNSUPPORTED, error, "no memory for the array '%s'", member->name);
    return NULL;
  }
  if (!unpack(npz, member, bytes, status.size, error)) return NULL;
  g_autofree gchar *name = g_strdup_printf("%s: %s", npz->path, member->name);
  return pipeline_npy_parse_rows(bytes, status.size, name, error);
}

/* DATA: there is none; the known ones are named. */
static const Member *find_member(const PipelineNpz *npz, const gchar *name, GError **error)
{
  g_autoptr(GString) known = g_string_new("");
  for (guint i = 0; i < npz->members->len; i++) {
    const Member *member = &g_array_index(npz->members, Member, i);
    if (strcmp(member->name, name) == 0) return member;
    g_string_append_printf(known, "%s%s", i > 0 ? ", " : "", member->name);
  }
  fail(npz, PIPELINE_ERROR_DATA, error, "there is no array '%s'; there are: %s", name, known->str);
  return NULL;
}

PipelineArray *pipeline_npz_read(const PipelineNpz *npz, const gchar *name, GError **error)
{
  const Member *member = find_member(npz, name, error);
  return member != NULL ? read_member(npz, member, error) : NULL;
}

/* --- members row by row ------------------------------------------------------------------------------------------- */

typedef struct {
  const PipelineNpz *npz;
  const Member *member;
  zip_file_t *file; /* NULL: not yet */
} MemberSource;

static gboolean member_rewind(gpointer data, GError **error)
{
  MemberSource *source = data;
  if (source->file != NULL) zip_fclose(source->file);
  source->file = zip_fopen_index(source->npz->archive, source->member->index, 0);
  return source->file != NULL || fail(source->npz, PIPELINE_ERROR_DATA, error, "the array '%s' cannot be read: %s",
                                      source->member->name, zip_strerror(source->npz->archive));
}

static gssize member_read(gpointer data, guint8 *bytes, gsize n, GError **error)
{
  MemberSource *source = data;
  gsize held = 0;
  zip_int64_t more = 1;
  while (held < n && (more = zip_fread(source->file, bytes + held, n - held)) > 0) held += (gsize)more;
  if (more >= 0) return (gssize)held;
  fail(source->npz, PIPELINE_ERROR_DATA, error, "the array '%s' is damaged: %s", source->member->name,
       zip_file_strerror(source->file));
  return -1;
}

static void member_free(gpointer data)
{
  MemberSource *source = data;
  if (source->file != NULL) zip_fclose(source->file);
  g_free(source);
}

PipelineRowStream *pipeline_npz_open_rows(const PipelineNpz *npz, const gchar *name, GError **error)
{
  zip_stat_t status;
  const Member *member = find_member(npz, name, error);
  if (member == NULL || !check_member(npz, member, MAX_STREAM_BYTES, &status, error)) return NULL;
  MemberSource *data = g_new0(MemberSource, 1);
  *data = (MemberSource){.npz = npz, .member = member};
  const PipelineNpySource source = {.name = g_strdup_printf("%s: %s", npz->path, name),
                                    .n_bytes = status.size,
                                    .data = data,
                                    .rewind = member_rewind,
                                    .read = member_read,
                                    .free_data = member_free};
  return pipeline_npy_rows_new(source, TRUE, error);
}
