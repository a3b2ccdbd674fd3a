/* No event allocates: this program counts every call of the C library's allocator, and the counters stand still while
 * accumulators, online detectors, sketches and audits take events. GLib's slices are switched to the same allocator. */
#include <check.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "drift/accumulator.h"
#include "drift/anytime.h"
#include "drift/detector.h"
#include "drift/fairness_audit.h"
#include "drift/hyperloglog.h"
#include "drift/kll.h"
#include "drift/two_sample_internal.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define HAS_OWN_ALLOCATOR 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) || __has_feature(memory_sanitizer)
#define HAS_OWN_ALLOCATOR 1
#endif
#endif

static guint64 n_calls;

#ifndef HAS_OWN_ALLOCATOR
/* The names under which glibc has its allocator besides those that this program takes. */
void *__libc_malloc(size_t size);
void *__libc_calloc(size_t n, size_t size);
void *__libc_realloc(void *block, size_t size);
void *__libc_memalign(size_t alignment, size_t size);
void __libc_free(void *block);
void *memalign(size_t alignment, size_t size);

void *malloc(size_t size)
{
  n_calls++;
  return __libc_malloc(size);
}

void *calloc(size_t n, size_t size)
{
  n_calls++;
  return __libc_calloc(n, size);
}

void *realloc(void *block, size_t size)
{
  n_calls++;
  return __libc_realloc(block, size);
}

void *memalign(size_t alignment, size_t size)
{
  n_calls++;
  return __libc_memalign(alignment, size);
}

void *aligned_alloc(size_t alignment, size_t size)
{
  n_calls++;
  return __libc_memalign(alignment, size);
}

int posix_memalign(void **block, size_t alignment, size_t size)
{
  n_calls++;
  *block = __libc_memalign(alignment, size);
  return *block != NULL ? 0 : ENOMEM;
}

void free(void *block)
{
  if (block != NULL) n_calls++;
  __libc_free(block);
}
#endif

/* The counter counts: what GLib, a slice and the C library allocate. Without this the other tests would prove nothing.
 */
START_TEST(allocations_are_counted)
{
  guint64 before = n_calls; /* asserts allocate too: they come last */
  gchar *volatile text = g_strdup("a");
  guint64 after_text = n_calls;
  g_free(text);
  guint64 after_free = n_calls;
  GList *volatile list = g_list_prepend(NULL, NULL); /* a slice */
  guint64 after_slice = n_calls;
  void *volatile block = aligned_alloc(64, 64);
  guint64 after_block = n_calls;
  free(block);
  g_list_free(list);
  ck_assert_uint_eq(after_text, before + 1);
  ck_assert_uint_eq(after_free, before + 2);
  ck_assert_uint_eq(after_slice, before + 3);
  ck_assert_uint_eq(after_block, before + 4);
}
END_TEST

static double normal(guint64 *state)
{
  double radius = sqrt(-2 * log(1 - drift_random_uniform(state)));
  return radius * cos(2 * G_PI * drift_random_uniform(state));
}

/* From the first value on, through changes, alarms, warnings and values that are skipped. */
START_TEST(detectors_allocate_nothing)
{
  const DriftDetectorType *type = drift_detector_types[_i];
  for (guint binary = 0; binary < 2; binary++) {
    g_autoptr(DriftDetector) detector = drift_detector_new(type->name, NULL, NULL);
    guint64 state = 3, before = n_calls;
    guint n_drifts = 0;
    for (guint row = 0; row < 12000; row++) {
      guint part = row / 1500 % 3;
      double value = binary ? drift_random_uniform(&state) < (part == 1 ? .5 : .1)
                            : normal(&state) * (part == 2 ? 3 : 1) + (part == 1 ? 2 : 0);
      if (row % 97 == 5) value = row % 2 == 0 ? NAN : INFINITY;
      n_drifts += drift_detector_update(detector, value) == DRIFT_SIGNAL_DRIFT;
    }
    drift_detector_reset(detector);
    drift_detector_get_change_point(detector);
    ck_assert_msg(n_calls == before, "%s: %" G_GUINT64_FORMAT " allocations in 12,000 rows, %u drifts", type->name,
                  n_calls - before, n_drifts);
  }
}
END_TEST

enum { FEATURES = 20 };

static void random_event(guint64 *state, DriftValue *features, DriftEvent *event)
{
  static const gchar *const texts[] = {"a", "b", "new", "1.0", ""};
  for (guint i = 0; i < FEATURES; i++) {
    guint odd = (guint)(drift_random_uniform(state) * 40);
    features[i] = odd == 0     ? drift_value_missing()
                  : odd == 1   ? drift_value_number(1e300)
                  : i % 4 == 3 ? drift_value_text(texts[odd % G_N_ELEMENTS(texts)], -1)
                  : i % 4 == 2 ? drift_value_number(odd % 7)
                               : drift_value_number(normal(state));
  }
  *event = (DriftEvent){.version = 1 + (gint64)(drift_random_uniform(state) * 3),
                        .prediction = drift_value_number(drift_random_uniform(state) < .5),
                        .score = drift_random_uniform(state),
                        .latency_ms = exp(normal(state)),
                        .features = features};
}

static DriftGrid *make_grid(void)
{
  g_autoptr(DriftSchema) schema = drift_schema_new(DRIFT_TASK_BINARY, "y");
  drift_schema_add_class(schema, "0");
  drift_schema_add_class(schema, "1");
  schema->positive_class = 1;
  g_autoptr(DriftTable) table = drift_table_new();
  guint64 state = 5;
  for (guint i = 0; i < FEATURES; i++) {
    g_autofree gchar *name = g_strdup_printf("f%u", i);
    DriftFeatureKind kind = i % 4 == 3 ? DRIFT_CATEGORICAL : DRIFT_NUMERIC;
    drift_schema_add_feature(schema, name, kind, i == 3, TRUE);
    DriftColumn *column = drift_table_add_column(table, name, kind);
    for (guint row = 0; row < 2000; row++) {
      if (kind == DRIFT_CATEGORICAL)
        drift_column_append_text(column, row % 3 == 0 ? "a" : "b", -1);
      else
        drift_column_append_number(column, i % 4 == 2 ? row % 7 : normal(&state));
    }
  }
  table->n_rows = 2000;
  return drift_grid_new(schema, table, 0, NULL);
}

/* Once every bin has been seen: the counts of new bins are made when they are first needed. */
START_TEST(accumulators_allocate_nothing)
{
  g_autoptr(DriftGrid) grid = make_grid();
  g_autoptr(DriftAccumulator) accumulator = drift_accumulator_new(grid);
  DriftValue features[FEATURES];
  DriftEvent event;
  guint64 state = 6;
  for (guint i = 0; i < 20000; i++) {
    random_event(&state, features, &event);
    drift_accumulator_add(accumulator, &event);
  }
  guint64 before = n_calls;
  for (guint i = 0; i < 20000; i++) {
    random_event(&state, features, &event);
    drift_accumulator_add(accumulator, &event);
  }
  ck_assert_uint_eq(n_calls, before);
  ck_assert_uint_eq(drift_accumulator_get_count(accumulator), 40000);
}
END_TEST

START_TEST(sketches_and_audits_allocate_nothing)
{
  const DriftFairnessAuditSettings settings = {.n_groups = 3, .alpha = .05};
  g_autoptr(GError) error = NULL;
  g_autoptr(DriftHyperLogLog) distinct = drift_hyperloglog_new(12, NULL);
  g_autoptr(DriftFairnessAudit) audit = drift_fairness_audit_new(&settings, &error);
  ck_assert_msg(audit != NULL, "%s", error != NULL ? error->message : "");
  guint64 state = 7, before = n_calls;
  for (guint i = 0; i < 20000; i++) {
    drift_hyperloglog_update_number(distinct, normal(&state));
    drift_fairness_audit_update(audit, i % 3, drift_random_uniform(&state) < (i % 3 == 1 ? .6 : .4));
  }
  ck_assert_uint_eq(n_calls, before);
}
END_TEST

/* A quantile sketch allocates when it grows by a level, about as often as the number of its values doubles: a dozen
 * levels here, and a few calls for each. */
START_TEST(quantile_sketches_allocate_rarely)
{
  g_autoptr(DriftKll) sketch = drift_kll_new(200, 1, NULL);
  guint64 state = 8, before = n_calls;
  for (guint i = 0; i < 1 << 20; i++) drift_kll_update(sketch, normal(&state));
  ck_assert_uint_le(n_calls - before, 200);
  before = n_calls;
  for (guint i = 0; i < 100000; i++) drift_kll_update(sketch, normal(&state));
  ck_assert_uint_le(n_calls - before, 4);
}
END_TEST

int main(int argc, char **argv)
{
  (void)argc;
#ifdef HAS_OWN_ALLOCATOR
  gboolean counts = FALSE;
  puts("the sanitizer has the allocator: allocations are not counted in this build");
#else
  gboolean counts = TRUE;
#endif
  if (g_getenv("G_SLICE") == NULL) { /* read once, before the first slice: so the program begins anew */
    g_setenv("G_SLICE", "always-malloc", TRUE);
    execv("/proc/self/exe", argv);
    return EXIT_FAILURE;
  }
  Suite *suite = suite_create("allocation");
  TCase *all = tcase_create("all");
  int n_detectors = 0;
  while (drift_detector_types[n_detectors] != NULL) n_detectors++;
  tcase_set_timeout(all, 60);
  if (counts) tcase_add_test(all, allocations_are_counted);
  tcase_add_loop_test(all, detectors_allocate_nothing, 0, n_detectors);
  tcase_add_test(all, accumulators_allocate_nothing);
  tcase_add_test(all, sketches_and_audits_allocate_nothing);
  tcase_add_test(all, quantile_sketches_allocate_rarely);
  suite_add_tcase(suite, all);
  SRunner *runner = srunner_create(suite);
  srunner_run_all(runner, CK_ENV);
  int failed = srunner_ntests_failed(runner);
  srunner_free(runner);
  return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
