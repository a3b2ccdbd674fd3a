/* libFuzzer over the readers of sketches and of the fairness audit: `make fuzz-sketch`. The first byte chooses the
 * reader and whether the rest is a frame or the contents of one with a right digest. What is read is used. */
#include "drift/bytes_internal.h"
#include "drift/fairness_audit.h"
#include "drift/frequent.h"
#include "drift/hyperloglog.h"
#include "drift/kll.h"

int LLVMFuzzerTestOneInput(const guint8 *data, size_t size);

static void use_kll(GBytes *bytes)
{
  g_autoptr(DriftKll) sketch = drift_kll_from_bytes(bytes, NULL), twin = drift_kll_from_bytes(bytes, NULL);
  if (sketch == NULL) return;
  for (guint i = 0; i < 300; i++) drift_kll_update(sketch, i);
  drift_kll_merge(sketch, twin, NULL);
  g_autoptr(DriftKllView) view = drift_kll_view_new(sketch);
  g_assert(drift_kll_view_quantile(view, .5) >= drift_kll_get_min(sketch));
  g_autoptr(GBytes) again = drift_kll_to_bytes(sketch);
  g_autoptr(DriftKll) read = drift_kll_from_bytes(again, NULL);
  g_assert(read != NULL);
}

static void use_hyperloglog(GBytes *bytes)
{
  g_autoptr(DriftHyperLogLog) sketch = drift_hyperloglog_from_bytes(bytes, NULL);
  if (sketch == NULL) return;
  drift_hyperloglog_update_number(sketch, 1);
  g_assert(drift_hyperloglog_estimate(sketch) > 0);
}

static void use_frequent(GBytes *bytes)
{
  g_autoptr(DriftFrequent) sketch = drift_frequent_from_bytes(bytes, NULL),
                           twin = drift_frequent_from_bytes(bytes, NULL);
  if (sketch == NULL) return;
  for (guint i = 0; i < 100; i++) drift_frequent_update(sketch, (const gchar *)&i, 1, i);
  drift_frequent_merge(sketch, twin, NULL);
  g_autoptr(GBytes) again = drift_frequent_to_bytes(sketch);
  g_autoptr(DriftFrequent) read = drift_frequent_from_bytes(again, NULL);
  g_assert(read != NULL);
}

static void use_audit(GBytes *bytes)
{
  g_autoptr(DriftFairnessAudit) audit = drift_fairness_audit_from_bytes(bytes, NULL);
  if (audit == NULL) return;
  for (guint i = 0; i < 100; i++) drift_fairness_audit_update(audit, i % 5, i % 3 / 2.0);
}

static const struct {
  const gchar *magic;
  void (*use)(GBytes *bytes);
} readers[] = {{"KKLL", use_kll}, {"KHLL", use_hyperloglog}, {"KFRQ", use_frequent}, {"KFAU", use_audit}};

int LLVMFuzzerTestOneInput(const guint8 *data, size_t size)
{
  if (size < 1) return 0;
  guint reader = data[0] % G_N_ELEMENTS(readers);
  g_autoptr(GByteArray) raw = g_byte_array_new();
  g_byte_array_append(raw, data + 1, (guint)(size - 1));
  g_autoptr(GBytes) bytes =
      data[0] & 0x80 ? g_bytes_new(data + 1, size - 1) : drift_frame_pack(readers[reader].magic, 1, raw);
  readers[reader].use(bytes);
  return 0;
}
