/* libFuzzer over the states of all online detectors: `make fuzz-detector`. Bytes: a number (little-endian, 16 bits) of
 * updates; the detector's index, with the highest bit set if the rest is a whole frame; else the rest is the state
 * behind the detector's name and is framed with a right digest. What restores is fed, saved and restored again, and a
 * copy must go on as the first. */
#include <math.h>
#include <string.h>

#include "drift/detector_internal.h"

int LLVMFuzzerTestOneInput(const guint8 *data, size_t size);

/* Errors, numbers of all sizes, and what is no number. */
static double value_of(guint i)
{
  static const double odd[] = {NAN, INFINITY, -INFINITY, 1e300, -1e300, 5e-324, -0.0, 1e100, 1, 0};
  if (i % 7 == 3) return odd[i / 7 % G_N_ELEMENTS(odd)];
  return i % 3 == 0 ? i % 2 : sin(i * .7) * (1 + i % 5);
}

static void use(DriftDetector *detector, guint n_updates)
{
  for (guint i = 0; i < n_updates; i++) drift_detector_update(detector, value_of(i));
  g_autoptr(GBytes) bytes = drift_detector_to_bytes(detector);
  g_autoptr(GError) error = NULL;
  g_autoptr(DriftDetector) copy = drift_detector_from_bytes(bytes, &error);
  /* Numbers that no run can have made may lead to more of them: refused then, never a crash. What kedge itself makes is
   * restored at every row by tests/unit/drift_property_test.c. */
  g_assert((copy == NULL) == (error != NULL));
  for (guint i = 0; copy != NULL && i < 40; i++) {
    g_assert(drift_detector_update(detector, value_of(i)) == drift_detector_update(copy, value_of(i)));
    g_assert(drift_detector_get_change_point(detector) == drift_detector_get_change_point(copy));
  }
  if (copy != NULL) {
    g_autoptr(GBytes) left = drift_detector_to_bytes(detector), right = drift_detector_to_bytes(copy);
    g_assert(g_bytes_equal(left, right));
  }
  double evidence, threshold;
  drift_detector_get_evidence(detector, &evidence, &threshold);
  g_assert(drift_detector_get_size(detector) > 0);
  drift_detector_reset(detector);
  drift_detector_update(detector, 1);
}

int LLVMFuzzerTestOneInput(const guint8 *data, size_t size)
{
  guint n_types = 0;
  while (drift_detector_types[n_types] != NULL) n_types++;
  if (size < 3) return 0;
  guint n_updates = (data[0] | data[1] << 8) % 600;
  const DriftDetectorType *type = drift_detector_types[(data[2] & 0x7f) % n_types];
  g_autoptr(GBytes) bytes = NULL;
  if (data[2] & 0x80) {
    bytes = g_bytes_new(data + 3, size - 3);
  } else {
    GByteArray *raw = drift_state_begin(type);
    g_byte_array_append(raw, data + 3, (guint)(size - 3));
    bytes = drift_state_finish(raw);
  }
  g_autoptr(GError) error = NULL;
  g_autoptr(DriftDetector) detector = drift_detector_from_bytes(bytes, &error);
  g_assert((detector == NULL) == (error != NULL));
  if (detector != NULL) use(detector, n_updates);
  return 0;
}
