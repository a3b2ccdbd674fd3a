/* Detectors whose state is a struct: create, save, restore and free by their layout. */
#include "drift/detector_internal.h"

#include <math.h>
#include <string.h>

void drift_plain_reset(DriftPlain *plain)
{
  plain->fed = 0;
  plain->change_point = -1;
  plain->alarmed = FALSE;
}

static DriftPlain *plain_new(const DriftDetectorType *type, const double *options)
{
  const DriftLayout *layout = type->layout;
  DriftPlain *plain = g_malloc0(layout->size);
  plain->base.type = type;
  memcpy(plain->options, options, layout->n_options * sizeof *options);
  if (layout->prepare != NULL) layout->prepare(&plain->base);
  type->reset(&plain->base);
  return plain;
}

DriftDetector *drift_plain_create(const DriftDetectorType *type, GHashTable *options, GError **error)
{
  const DriftLayout *layout = type->layout;
  double values[DRIFT_MAX_OPTIONS];
  if (!drift_options_read(type->name, options, layout->options, layout->n_options, values, error)) return NULL;
  if (layout->accepts != NULL && !layout->accepts(values, error)) return NULL;
  return &plain_new(type, values)->base;
}

static void put_field(GByteArray *raw, const DriftField *field, const guint8 *at)
{
  switch (field->kind) {
  case DRIFT_FIELD_U64:
    drift_put_u64(raw, *(const guint64 *)(const void *)at);
    break;
  case DRIFT_FIELD_I64:
    drift_put_i64(raw, *(const gint64 *)(const void *)at);
    break;
  case DRIFT_FIELD_DOUBLE:
    drift_put_double(raw, *(const double *)(const void *)at);
    break;
  case DRIFT_FIELD_FLAG:
    drift_put_u8(raw, *(const gboolean *)(const void *)at != FALSE);
    break;
  }
}

static gboolean get_field(DriftReader *reader, const DriftField *field, guint8 *at)
{
  double value = 0;
  switch (field->kind) {
  case DRIFT_FIELD_U64:
    value = (double)(*(guint64 *)(void *)at = drift_get_u64(reader));
    break;
  case DRIFT_FIELD_I64:
    value = (double)(*(gint64 *)(void *)at = drift_get_i64(reader));
    break;
  case DRIFT_FIELD_DOUBLE:
    value = *(double *)(void *)at = drift_get_double(reader);
    break;
  case DRIFT_FIELD_FLAG:
    value = *(gboolean *)(void *)at = drift_get_u8(reader);
    break;
  }
  return value >= field->minimum && value <= field->maximum; /* NaN fails */
}

GBytes *drift_plain_to_bytes(const DriftDetector *detector)
{
  const DriftPlain *plain = (const DriftPlain *)detector;
  const DriftLayout *layout = detector->type->layout;
  GByteArray *raw = drift_state_begin(detector->type);
  if (layout->format != 0) drift_put_u8(raw, layout->format);
  drift_options_put(raw, plain->options, layout->n_options);
  drift_put_u64(raw, plain->fed);
  drift_put_i64(raw, plain->change_point);
  drift_put_u8(raw, plain->alarmed != FALSE);
  for (guint i = 0; i < layout->n_fields; i++)
    put_field(raw, &layout->fields[i], (const guint8 *)detector + layout->fields[i].offset);
  if (layout->put != NULL) layout->put(detector, raw);
  return drift_state_finish(raw);
}

/* Reads into a detector that has its buffers. */
static gboolean get_state(DriftPlain *plain, DriftReader *reader)
{
  const DriftLayout *layout = plain->base.type->layout;
  plain->fed = drift_get_u64(reader);
  plain->change_point = drift_get_i64(reader);
  guint8 alarmed = drift_get_u8(reader);
  plain->alarmed = alarmed != 0;
  gboolean fits = alarmed <= 1 && plain->fed <= G_MAXINT64 && plain->change_point >= -1 &&
                  plain->change_point <= (gint64)plain->fed;
  for (guint i = 0; i < layout->n_fields; i++)
    fits = get_field(reader, &layout->fields[i], (guint8 *)plain + layout->fields[i].offset) && fits;
  if (!fits || reader->failed) return FALSE;
  if (layout->get != NULL && (!layout->get(&plain->base, reader) || reader->failed)) return FALSE;
  return layout->fits == NULL || layout->fits(&plain->base);
}

DriftDetector *drift_plain_from_bytes(const DriftDetectorType *type, GBytes *bytes, GError **error)
{
  const DriftLayout *layout = type->layout;
  g_autoptr(GBytes) raw = NULL;
  DriftReader reader;
  if (!drift_state_open(type, bytes, &raw, &reader, error)) return NULL;
  if (layout->format != 0 && drift_get_u8(&reader) != layout->format) {
    g_set_error(error, DRIFT_ERROR, DRIFT_ERROR_MISMATCH,
                "detector state: of another version's \"%s\", which this one cannot go on from; start it anew",
                type->name);
    return NULL;
  }
  double options[DRIFT_MAX_OPTIONS];
  drift_options_get(&reader, options, layout->n_options);
  gboolean fits = !reader.failed && drift_options_fit(layout->options, layout->n_options, options) &&
                  (layout->accepts == NULL || layout->accepts(options, NULL));
  g_autoptr(DriftDetector) detector = fits ? &plain_new(type, options)->base : NULL;
  fits = fits && get_state((DriftPlain *)detector, &reader);
  if (!drift_state_close(type, &reader, fits, error)) return NULL;
  return g_steal_pointer(&detector);
}

static double field_value(const DriftField *field, const guint8 *at)
{
  switch (field->kind) {
  case DRIFT_FIELD_U64:
    return (double)*(const guint64 *)(const void *)at;
  case DRIFT_FIELD_I64:
    return (double)*(const gint64 *)(const void *)at;
  case DRIFT_FIELD_FLAG:
    return *(const gboolean *)(const void *)at;
  case DRIFT_FIELD_DOUBLE:
    break;
  }
  return *(const double *)(const void *)at;
}

void drift_plain_describe(const DriftDetector *detector, DriftStateVisit visit, gpointer user_data)
{
  const DriftLayout *layout = detector->type->layout;
  for (guint i = 0; i < layout->n_fields; i++)
    visit(layout->fields[i].name, field_value(&layout->fields[i], (const guint8 *)detector + layout->fields[i].offset),
          user_data);
}

gint64 drift_plain_get_change_point(const DriftDetector *detector)
{
  return ((const DriftPlain *)detector)->change_point;
}

gsize drift_plain_get_size(const DriftDetector *detector)
{
  const DriftLayout *layout = detector->type->layout;
  return layout->size + (layout->buffers != NULL ? layout->buffers(detector) : 0);
}

void drift_plain_free(DriftDetector *detector)
{
  const DriftLayout *layout = detector->type->layout;
  if (layout->clear != NULL) layout->clear(detector);
  g_free(detector);
}
