#include "pipeline/npz.h"

#include <string.h>
#include <gio/gio.h>
#include <glib/gstdio.h>

#include "pipeline/error.h"

#define MAX_FILE_BYTES ((guint64)2 << 30)
#define END_BYTES 22u   /* of the end record without its comment */
#define ENTRY_BYTES 46u /* of a directory entry without its names */
#define LOCAL_BYTES 30u /* of a member's own header without its names */
#define MAX_COMMENT 65535u

typedef struct {
  gchar *name; /* owned */
  guint method, flags;
  guint32 checksum, packed, unpacked;
  gsize local; /* offset of its own header */
} Member;

struct _PipelineNpz {
  gchar *path;
  guint8 *bytes;
  gsize length;
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

static guint get16(const guint8 *at)
{
  return at[0] | (guint)at[1] << 8;
}

static guint32 get32(const guint8 *at)
{
  return get16(at) | (guint32)get16(at + 2) << 16;
}

static void member_clear(gpointer data)
{
  g_free(((Member *)data)->name);
}

/* --- the directory ------------------------------------------------------------------------------------------------ */

/* Offset of the end record, looked for from the back; G_MAXSIZE: there is none. */
static gsize find_end(const PipelineNpz *npz)
{
  gsize least = npz->length > END_BYTES + MAX_COMMENT ? npz->length - END_BYTES - MAX_COMMENT : 0;
  for (gsize at = npz->length >= END_BYTES ? npz->length - END_BYTES + 1 : 0; at-- > least;)
    if (memcmp(npz->bytes + at, "PK\5\6", 4) == 0 && at + END_BYTES + get16(npz->bytes + at + 20) == npz->length)
      return at;
  return G_MAXSIZE;
}

/* One entry at *at, which moves behind it. */
static gboolean read_entry(PipelineNpz *npz, gsize *at, GError **error)
{
  const guint8 *entry = npz->bytes + *at;
  if (*at > npz->length || npz->length - *at < ENTRY_BYTES || memcmp(entry, "PK\1\2", 4) != 0)
    return fail(npz, PIPELINE_ERROR_DATA, error, "no directory entry at byte %zu; was it cut off?", *at);
  gsize n_name = get16(entry + 28), names = n_name + get16(entry + 30) + get16(entry + 32);
  if (npz->length - *at - ENTRY_BYTES < names)
    return fail(npz, PIPELINE_ERROR_DATA, error, "the directory entry at byte %zu is cut off", *at);
  Member member = {.flags = get16(entry + 8),
                   .method = get16(entry + 10),
                   .checksum = get32(entry + 16),
                   .packed = get32(entry + 20),
                   .unpacked = get32(entry + 24),
                   .local = get32(entry + 42)};
  *at += ENTRY_BYTES + names;
  if (member.packed == G_MAXUINT32 || member.unpacked == G_MAXUINT32 || member.local == G_MAXUINT32)
    return fail(npz, PIPELINE_ERROR_UNSUPPORTED, error, "a member is larger than 4 GiB");
  const gchar *name = (const gchar *)entry + ENTRY_BYTES;
  if (n_name < 4 || memcmp(name + n_name - 4, ".npy", 4) != 0) return TRUE; /* no array */
  if (!g_utf8_validate_len(name, n_name, NULL))
    return fail(npz, PIPELINE_ERROR_DATA, error, "the name of a member is no UTF-8 text");
  member.name = g_strndup(name, n_name - 4);
  g_array_append_val(npz->members, member);
  return TRUE;
}

static gboolean read_directory(PipelineNpz *npz, GError **error)
{
  gsize end = find_end(npz);
  if (end == G_MAXSIZE) return fail(npz, PIPELINE_ERROR_DATA, error, "no .npz file: it does not end as a zip file");
  const guint8 *record = npz->bytes + end;
  guint n = get16(record + 10);
  gsize at = get32(record + 16);
  if (get16(record + 4) != 0 || get16(record + 8) != n)
    return fail(npz, PIPELINE_ERROR_UNSUPPORTED, error, "an archive of several parts");
  if (n > PIPELINE_NPZ_MAX_MEMBERS)
    return fail(npz, PIPELINE_ERROR_UNSUPPORTED, error, "%u members; at most %u are read", n, PIPELINE_NPZ_MAX_MEMBERS);
  for (guint i = 0; i < n; i++)
    if (!read_entry(npz, &at, error)) return FALSE;
  return npz->members->len > 0 || fail(npz, PIPELINE_ERROR_DATA, error, "it holds no array");
}

PipelineNpz *pipeline_npz_open(const gchar *path, GError **error)
{
  g_autoptr(PipelineNpz) npz = g_new0(PipelineNpz, 1);
  GStatBuf status;
  npz->path = g_strdup(path);
  npz->members = g_array_new(FALSE, TRUE, sizeof(Member));
  g_array_set_clear_func(npz->members, member_clear);
  if (g_stat(path, &status) == 0 && (guint64)status.st_size > MAX_FILE_BYTES) {
    fail(npz, PIPELINE_ERROR_UNSUPPORTED, error, "larger than 2 GiB");
    return NULL;
  }
  if (!g_file_get_contents(path, (gchar **)&npz->bytes, &npz->length, error) || !read_directory(npz, error))
    return NULL;
  return g_steal_pointer(&npz);
}

void pipeline_npz_free(PipelineNpz *npz)
{
  if (npz == NULL) return;
  g_array_unref(npz->members);
  g_free(npz->bytes);
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

static guint32 compute_checksum(const guint8 *bytes, gsize n)
{
  guint32 table[256], sum = 0xffffffffu;
  for (guint32 i = 0; i < 256; i++) {
    table[i] = i;
    for (guint bit = 0; bit < 8; bit++) table[i] = (table[i] >> 1) ^ (table[i] & 1 ? 0xedb88320u : 0);
  }
  for (gsize i = 0; i < n; i++) sum = table[(sum ^ bytes[i]) & 0xff] ^ (sum >> 8);
  return sum ^ 0xffffffffu;
}

static gboolean inflate(const PipelineNpz *npz, const Member *member, const guint8 *from, guint8 *to, GError **error)
{
  g_autoptr(GZlibDecompressor) decompressor = g_zlib_decompressor_new(G_ZLIB_COMPRESSOR_FORMAT_RAW);
  gsize read = 0, written = 0;
  GConverterResult result = G_CONVERTER_CONVERTED;
  while (result == G_CONVERTER_CONVERTED) {
    gsize in = 0, out = 0;
    g_autoptr(GError) cause = NULL;
    guint8 spare; /* so that the end is seen when the result is full */
    gboolean full = written == member->unpacked;
    result =
        g_converter_convert(G_CONVERTER(decompressor), from + read, member->packed - read, full ? &spare : to + written,
                            full ? 1 : member->unpacked - written, G_CONVERTER_INPUT_AT_END, &in, &out, &cause);
    if (result == G_CONVERTER_ERROR)
      return fail(npz, PIPELINE_ERROR_DATA, error, "the array '%s' cannot be unpacked: %s", member->name,
                  cause->message);
    if (full && out > 0)
      return fail(npz, PIPELINE_ERROR_DATA, error, "the array '%s' is larger than it says", member->name);
    read += in;
    written += full ? 0 : out;
  }
  return written == member->unpacked ||
         fail(npz, PIPELINE_ERROR_DATA, error, "the array '%s' is smaller than it says", member->name);
}

/* The packed bytes of a member, behind its own header. */
static const guint8 *find_bytes(const PipelineNpz *npz, const Member *member, GError **error)
{
  const guint8 *local = npz->bytes + member->local;
  gsize start = member->local + LOCAL_BYTES;
  if (start <= npz->length && memcmp(local, "PK\3\4", 4) == 0) {
    start += (gsize)get16(local + 26) + get16(local + 28);
    if (start <= npz->length && member->packed <= npz->length - start) return npz->bytes + start;
  }
  fail(npz, PIPELINE_ERROR_DATA, error, "the array '%s' is cut off", member->name);
  return NULL;
}

static PipelineArray *read_member(const PipelineNpz *npz, const Member *member, GError **error)
{
  g_autofree gchar *name = g_strdup_printf("%s: %s", npz->path, member->name);
  if ((member->flags & 1) != 0 || (member->method != 0 && member->method != 8)) {
    fail(npz, PIPELINE_ERROR_UNSUPPORTED, error, "the array '%s' is encrypted or packed by another method",
         member->name);
    return NULL;
  }
  const guint8 *from = find_bytes(npz, member, error), *bytes = from;
  g_autofree guint8 *unpacked = NULL;
  if (from == NULL) return NULL;
  if (member->method == 8) {
    if (member->unpacked / 1100 > member->packed) { /* deflate packs at most 1 to 1032 */
      fail(npz, PIPELINE_ERROR_DATA, error, "the array '%s' says that it is larger than it can be", member->name);
      return NULL;
    }
    bytes = unpacked = g_try_malloc(MAX(member->unpacked, 1));
    if (unpacked == NULL) {
      fail(npz, PIPELINE_ERROR_UNSUPPORTED, error, "no memory for the array '%s'", member->name);
      return NULL;
    }
    if (!inflate(npz, member, from, unpacked, error)) return NULL;
  } else if (member->packed != member->unpacked) {
    fail(npz, PIPELINE_ERROR_DATA, error, "the array '%s' has two sizes", member->name);
    return NULL;
  }
  if (compute_checksum(bytes, member->unpacked) != member->checksum) {
    fail(npz, PIPELINE_ERROR_DATA, error, "the array '%s' is damaged: its checksum is wrong", member->name);
    return NULL;
  }
  return pipeline_npy_parse_rows(bytes, member->unpacked, name, error);
}

PipelineArray *pipeline_npz_read(const PipelineNpz *npz, const gchar *name, GError **error)
{
  g_autoptr(GString) known = g_string_new("");
  for (guint i = 0; i < npz->members->len; i++) {
    const Member *member = &g_array_index(npz->members, Member, i);
    if (strcmp(member->name, name) == 0) return read_member(npz, member, error);
    g_string_append_printf(known, "%s%s", i > 0 ? ", " : "", member->name);
  }
  fail(npz, PIPELINE_ERROR_DATA, error, "there is no array '%s'; there are: %s", name, known->str);
  return NULL;
}
