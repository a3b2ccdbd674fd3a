#include "drift/hyperloglog.h"

#include <math.h>
#include <string.h>

#include "drift/bytes_internal.h"
#include "drift/schema.h"

#define MAGIC "KHLL"
#define VERSION 1

struct _DriftHyperLogLog {
  guint precision;
  guint8 *registers; /* [2^precision] highest position of a leading one + 1, 0: none */
};

DriftHyperLogLog *drift_hyperloglog_new(guint precision, GError **error)
{
  if (precision < DRIFT_HYPERLOGLOG_MIN_PRECISION || precision > DRIFT_HYPERLOGLOG_MAX_PRECISION) {
    g_set_error(error, DRIFT_ERROR, DRIFT_ERROR_INVALID, "HyperLogLog: the precision is %u to %u, not %u",
                DRIFT_HYPERLOGLOG_MIN_PRECISION, DRIFT_HYPERLOGLOG_MAX_PRECISION, precision);
    return NULL;
  }
  DriftHyperLogLog *sketch = g_new0(DriftHyperLogLog, 1);
  sketch->precision = precision;
  sketch->registers = g_new0(guint8, (gsize)1 << precision);
  return sketch;
}

void drift_hyperloglog_free(DriftHyperLogLog *sketch)
{
  if (sketch == NULL) return;
  g_free(sketch->registers);
  g_free(sketch);
}

/* Finaliser of MurmurHash3: every bit of the input moves every bit of the output. */
static guint64 mix(guint64 z)
{
  z = (z ^ z >> 33) * G_GUINT64_CONSTANT(0xff51afd7ed558ccd);
  z = (z ^ z >> 33) * G_GUINT64_CONSTANT(0xc4ceb9fe1a85ec53);
  return z ^ z >> 33;
}

static void add_hash(DriftHyperLogLog *sketch, guint64 hash)
{
  guint index = (guint)(hash >> (64 - sketch->precision));
  guint64 rest = hash << sketch->precision;
  guint8 rank = (guint8)(rest == 0 ? 64 - sketch->precision + 1 : (guint)__builtin_clzll(rest) + 1);
  if (rank > sketch->registers[index]) sketch->registers[index] = rank;
}

void drift_hyperloglog_update(DriftHyperLogLog *sketch, const void *bytes, gsize length)
{
  add_hash(sketch, mix(drift_digest(bytes, length)));
}

void drift_hyperloglog_update_number(DriftHyperLogLog *sketch, double number)
{
  guint64 bits;
  if (number == 0) number = 0; /* -0 */
  if (isnan(number)) number = NAN;
  memcpy(&bits, &number, sizeof bits);
  add_hash(sketch, mix(mix(bits) + G_GUINT64_CONSTANT(0x9e3779b97f4a7c15)));
}

gboolean drift_hyperloglog_merge(DriftHyperLogLog *sketch, const DriftHyperLogLog *other, GError **error)
{
  if (sketch->precision != other->precision) {
    g_set_error(error, DRIFT_ERROR, DRIFT_ERROR_MISMATCH, "HyperLogLog: precisions %u and %u cannot be merged",
                sketch->precision, other->precision);
    return FALSE;
  }
  for (gsize i = 0; i < (gsize)1 << sketch->precision; i++)
    sketch->registers[i] = MAX(sketch->registers[i], other->registers[i]);
  return TRUE;
}

/* Ertl's functions: the mass of registers that are still 0, and of those that are full. */
static double sigma(double x)
{
  if (x == 1) return INFINITY;
  double y = 1, z = x, before;
  do {
    x *= x;
    before = z;
    z += x * y;
    y += y;
  } while (z != before);
  return z;
}

static double tau(double x)
{
  if (x == 0 || x == 1) return 0;
  double y = 1, z = 1 - x, before;
  do {
    x = sqrt(x);
    before = z;
    y /= 2;
    z -= (1 - x) * (1 - x) * y;
  } while (z != before);
  return z / 3;
}

double drift_hyperloglog_estimate(const DriftHyperLogLog *sketch)
{
  double m = (double)((gsize)1 << sketch->precision);
  guint q = 64 - sketch->precision;
  guint counts[66] = {0};
  for (gsize i = 0; i < (gsize)1 << sketch->precision; i++) counts[sketch->registers[i]]++;
  double z = m * tau((m - counts[q + 1]) / m);
  for (guint k = q; k >= 1; k--) z = (z + counts[k]) / 2;
  z += m * sigma(counts[0] / m);
  return m * m / (2 * G_LN2) / z;
}

double drift_hyperloglog_relative_error(guint precision)
{
  return 1.04 / sqrt((double)((gsize)1 << precision));
}

GBytes *drift_hyperloglog_to_bytes(const DriftHyperLogLog *sketch)
{
  g_autoptr(GByteArray) raw = g_byte_array_new();
  drift_put_u8(raw, (guint8)sketch->precision);
  g_byte_array_append(raw, sketch->registers, (guint)1 << sketch->precision);
  return drift_frame_pack(MAGIC, VERSION, raw);
}

static DriftHyperLogLog *read_sketch(DriftReader *reader)
{
  g_autoptr(DriftHyperLogLog) sketch = drift_hyperloglog_new(drift_get_u8(reader), NULL);
  if (sketch == NULL) return NULL;
  gsize n = (gsize)1 << sketch->precision;
  const guint8 *registers = drift_get_block(reader, n);
  if (registers == NULL || drift_reader_left(reader) > 0) return NULL;
  for (gsize i = 0; i < n; i++)
    if (registers[i] > 64 - sketch->precision + 1) return NULL;
  memcpy(sketch->registers, registers, n);
  return g_steal_pointer(&sketch);
}

DriftHyperLogLog *drift_hyperloglog_from_bytes(GBytes *bytes, GError **error)
{
  g_autoptr(GBytes) raw = drift_frame_unpack(MAGIC, VERSION, 1 << 20, "HyperLogLog sketch", bytes, error);
  if (raw == NULL) return NULL;
  gsize length;
  const guint8 *data = g_bytes_get_data(raw, &length);
  DriftReader reader;
  drift_reader_init(&reader, data, length);
  DriftHyperLogLog *sketch = read_sketch(&reader);
  if (sketch == NULL)
    g_set_error(error, DRIFT_ERROR, DRIFT_ERROR_INVALID,
                "HyperLogLog sketch: the state is not one that this program could have written");
  return sketch;
}
