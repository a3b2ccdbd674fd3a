#include "drift/detector.h"

#include <math.h>
#include <string.h>

#include "drift/detector_internal.h"

#define STATE_MAGIC "KDDT"
#define STATE_VERSION 1
#define MAX_STATE_BYTES (1u << 20)

const DriftDetectorType *const drift_detector_types[] = {&drift_detector_auto,
                                                         &drift_detector_adwin,
                                                         &drift_detector_page_hinkley,
                                                         &drift_detector_cusum,
                                                         &drift_detector_moving_average,
                                                         &drift_detector_kswin,
                                                         &drift_detector_kswindow,
                                                         &drift_detector_ddm,
                                                         &drift_detector_eddm,
                                                         &drift_detector_rddm,
                                                         &drift_detector_hddm_a,
                                                         &drift_detector_hddm_w,
                                                         &drift_detector_fhddm,
                                                         &drift_detector_ecdd,
                                                         &drift_detector_stepd,
                                                         &drift_detector_glr,
                                                         &drift_detector_e_detector,
                                                         &drift_detector_conformal,
                                                         &drift_detector_betting,
                                                         &drift_detector_bernstein,
                                                         NULL};

/* The name without what people spell differently. */
static gchar *plain_name(const gchar *name)
{
  GString *plain = g_string_new(NULL);
  for (const gchar *at = name; *at != '\0'; at++)
    if (*at != '-' && *at != '_' && *at != ' ') g_string_append_c(plain, g_ascii_tolower(*at));
  return g_string_free(plain, FALSE);
}

static gboolean is_same_name(const gchar *asked, const gchar *name)
{
  g_autofree gchar *plain = name != NULL ? plain_name(name) : NULL;
  return plain != NULL && strcmp(asked, plain) == 0;
}

const DriftDetectorType *drift_detector_find(const gchar *name)
{
  g_autofree gchar *asked = plain_name(name);
  for (guint i = 0; drift_detector_types[i] != NULL; i++)
    if (is_same_name(asked, drift_detector_types[i]->name) || is_same_name(asked, drift_detector_types[i]->alias))
      return drift_detector_types[i];
  return NULL;
}

static const DriftDetectorType *find_or_explain(const gchar *name, GError **error)
{
  const DriftDetectorType *type = drift_detector_find(name);
  if (type != NULL) return type;
  g_autoptr(GString) known = g_string_new(NULL);
  for (guint i = 0; drift_detector_types[i] != NULL; i++)
    g_string_append_printf(known, "%s%s", i > 0 ? ", " : "", drift_detector_types[i]->name);
  g_set_error(error, DRIFT_ERROR, DRIFT_ERROR_INVALID, "no detector is called \"%s\"; there are %s", name, known->str);
  return NULL;
}

DriftDetector *drift_detector_new(const gchar *name, GHashTable *options, GError **error)
{
  const DriftDetectorType *type = find_or_explain(name, error);
  return type != NULL ? type->create(type, options, error) : NULL;
}

DriftSignal drift_detector_update(DriftDetector *detector, double value)
{
  return detector->type->update(detector, value);
}

gsize drift_detector_update_many(DriftDetector *detector, const double *values, gsize n, guint8 *signals)
{
  const DriftDetectorType *type = detector->type;
  if (type->update_many != NULL) return type->update_many(detector, values, n, signals);
  for (gsize i = 0; i < n; i++) {
    signals[i] = (guint8)type->update(detector, values[i]);
    if (signals[i] == DRIFT_SIGNAL_DRIFT) return i + 1;
  }
  return n;
}

static const struct {
  const gchar *name;
  double least, largest;
} takes[] = {[DRIFT_TAKES_NUMBERS] = {"numbers", -INFINITY, INFINITY},
             [DRIFT_TAKES_FINITE] = {"numbers of size 1e100 at most", -DRIFT_LARGEST_VALUE, DRIFT_LARGEST_VALUE},
             [DRIFT_TAKES_ERRORS] = {"errors in [0, 1]", 0, 1}};

gboolean drift_detector_takes(const DriftDetector *detector, double value)
{
  return value >= takes[detector->type->takes].least && value <= takes[detector->type->takes].largest;
}

const gchar *drift_detector_get_takes(const DriftDetector *detector)
{
  return takes[detector->type->takes].name;
}

gint64 drift_detector_get_change_point(const DriftDetector *detector)
{
  return detector->type->get_change_point(detector);
}

gboolean drift_detector_get_evidence(const DriftDetector *detector, double *evidence, double *threshold)
{
  if (detector->type->get_evidence == NULL) return FALSE;
  double level, value = detector->type->get_evidence(detector, &level);
  *evidence = value;
  *threshold = level;
  return TRUE;
}

void drift_detector_describe(const DriftDetector *detector, DriftStateVisit visit, gpointer user_data)
{
  if (detector->type->describe != NULL) detector->type->describe(detector, visit, user_data);
}

gsize drift_detector_get_size(const DriftDetector *detector)
{
  return detector->type->get_size(detector);
}

void drift_detector_reset(DriftDetector *detector)
{
  detector->type->reset(detector);
}

GBytes *drift_detector_to_bytes(const DriftDetector *detector)
{
  return detector->type->to_bytes(detector);
}

void drift_detector_free(DriftDetector *detector)
{
  if (detector != NULL) detector->type->free(detector);
}

/* The uncompressed state and a reader just behind the name, which is new text. */
static gboolean open_state(GBytes *bytes, GBytes **raw, DriftReader *reader, gchar **name, GError **error)
{
  g_autoptr(GBytes) opened =
      drift_frame_unpack(STATE_MAGIC, STATE_VERSION, MAX_STATE_BYTES, "detector state", bytes, error);
  if (opened == NULL) return FALSE;
  gsize length;
  const guint8 *data = g_bytes_get_data(opened, &length);
  drift_reader_init(reader, data, length);
  *name = drift_get_string(reader, 64);
  if (*name == NULL) {
    g_set_error(error, DRIFT_ERROR, DRIFT_ERROR_INVALID, "detector state: it does not name its detector");
    return FALSE;
  }
  *raw = g_steal_pointer(&opened);
  return TRUE;
}

DriftDetector *drift_detector_from_bytes(GBytes *bytes, GError **error)
{
  g_autoptr(GBytes) raw = NULL;
  g_autofree gchar *name = NULL;
  DriftReader reader;
  if (!open_state(bytes, &raw, &reader, &name, error)) return NULL;
  const DriftDetectorType *type = find_or_explain(name, error);
  return type != NULL ? type->from_bytes(type, bytes, error) : NULL;
}

GByteArray *drift_state_begin(const DriftDetectorType *type)
{
  GByteArray *raw = g_byte_array_new();
  drift_put_string(raw, type->name);
  return raw;
}

GBytes *drift_state_finish(GByteArray *raw)
{
  GBytes *bytes = drift_frame_pack(STATE_MAGIC, STATE_VERSION, raw);
  g_byte_array_unref(raw);
  return bytes;
}

gboolean drift_state_open(const DriftDetectorType *type, GBytes *bytes, GBytes **raw, DriftReader *reader,
                          GError **error)
{
  g_autofree gchar *name = NULL;
  if (!open_state(bytes, raw, reader, &name, error)) return FALSE;
  if (strcmp(name, type->name) == 0) return TRUE;
  g_clear_pointer(raw, g_bytes_unref);
  g_set_error(error, DRIFT_ERROR, DRIFT_ERROR_MISMATCH, "detector state: of \"%s\", read as \"%s\"", name, type->name);
  return FALSE;
}

gboolean drift_state_close(const DriftDetectorType *type, const DriftReader *reader, gboolean fits, GError **error)
{
  if (!reader->failed && drift_reader_left(reader) == 0 && fits) return TRUE;
  g_set_error(error, DRIFT_ERROR, DRIFT_ERROR_INVALID, "detector state: contents that \"%s\" cannot have", type->name);
  return FALSE;
}
