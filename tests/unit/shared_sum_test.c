/* Sums over processes through memory that they share. Threads stand for the processes, so that ThreadSanitizer sees
 * them; one test has real ones. */
#include <check.h>
#include <glib.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "pipeline/mpi/shared_sum.h"

#define PROCESSES 3u
#define SEED 7
#define N_SUMS 9

/* Empty, one, a piece (64 KiB of float) and its neighbours, more than all slots hold; doubles at odd places. */
static const struct {
  gsize n;
  gboolean doubles;
} sizes[N_SUMS] = {{1, FALSE},    {16384, FALSE}, {2, TRUE},       {16385, FALSE}, {0, FALSE},
                   {16383, TRUE}, {40000, FALSE}, {700001, FALSE}, {3, TRUE}};

typedef struct {
  gpointer block;
  guint rank, processes;
} Member;

static gpointer make_block(guint processes)
{
  gpointer block =
      mmap(NULL, pipeline_shared_sums_size(processes), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  ck_assert(block != MAP_FAILED);
  return block;
}

/* Numbers whose float32 sum depends on the order. */
static double value_of(guint rank, guint sum, gsize i)
{
  static const double scales[] = {1, 1e-3, 1e4};
  return scales[(rank + i) % 3] * ((double)((i * 2654435761u + sum * 97 + rank * 31) % 10007) / 10007 - .5);
}

static gpointer make_values(guint rank, guint sum)
{
  gsize n = sizes[sum].n;
  double *doubles = g_new(double, n + 1);
  float *floats = (float *)(gpointer)doubles;
  for (gsize i = 0; i < n; i++)
    if (sizes[sum].doubles)
      doubles[i] = value_of(rank, sum, i);
    else
      floats[i] = (float)value_of(rank, sum, i);
  return doubles;
}

/* In the order of the ranks, to the bit. */
static gboolean is_sum(gconstpointer values, guint sum, guint processes)
{
  for (gsize i = 0; i < sizes[sum].n; i++) {
    double wide = value_of(0, sum, i);
    float narrow = (float)wide;
    for (guint r = 1; r < processes; r++) {
      wide += value_of(r, sum, i);
      narrow += (float)value_of(r, sum, i);
    }
    if (sizes[sum].doubles ? ((const double *)values)[i] != wide : ((const float *)values)[i] != narrow) return FALSE;
  }
  return TRUE;
}

/* All at once, asked for in another order by every process; twice, so that every slot has several turns. */
static gboolean add_up(const Member *member)
{
  PipelineSharedSums *sums = pipeline_shared_sums_new(member->block, member->rank, member->processes, NULL, NULL);
  g_autoptr(GRand) random = g_rand_new_with_seed(SEED + member->rank);
  gboolean good = TRUE;
  for (guint turn = 0; turn < 2; turn++) {
    gpointer values[N_SUMS];
    PipelineSharedSum *started[N_SUMS];
    for (guint s = 0; s < N_SUMS; s++) {
      values[s] = make_values(member->rank, s);
      started[s] = pipeline_shared_sum_start(sums, values[s], sizes[s].n, sizes[s].doubles);
    }
    for (guint left = N_SUMS; left > 0;) {
      guint s = (guint)g_rand_int_range(random, 0, N_SUMS);
      if (started[s] == NULL) continue;
      if (g_rand_boolean(random))
        pipeline_shared_sum_poll(sums, &started[s]);
      else
        good = pipeline_shared_sum_wait(sums, &started[s]) == 0 && started[s] == NULL && good;
      if (started[s] == NULL) left--;
    }
    for (guint s = 0; s < N_SUMS; s++) {
      good = is_sum(values[s], s, member->processes) && good;
      g_free(values[s]);
    }
  }
  pipeline_shared_sums_free(sums);
  return good;
}

static gpointer add_up_in_thread(gpointer data)
{
  return GINT_TO_POINTER(add_up(data));
}

/* _i + 1 processes. */
START_TEST(sums_are_in_the_order_of_ranks)
{
  guint n = (guint)_i + 1;
  gpointer block = make_block(n);
  GThread *threads[PROCESSES];
  Member members[PROCESSES];
  for (guint r = 0; r < n; r++) {
    members[r] = (Member){.block = block, .rank = r, .processes = n};
    threads[r] = g_thread_new("process", add_up_in_thread, &members[r]);
  }
  for (guint r = 0; r < n; r++) ck_assert(GPOINTER_TO_INT(g_thread_join(threads[r])));
  munmap(block, pipeline_shared_sums_size(n));
}
END_TEST

START_TEST(real_processes_share_them)
{
  gpointer block = make_block(PROCESSES);
  pid_t children[PROCESSES];
  for (guint r = 0; r < PROCESSES; r++)
    if ((children[r] = fork()) == 0) _exit(add_up(&(Member){block, r, PROCESSES}) ? 0 : 1);
  for (guint r = 0; r < PROCESSES; r++) {
    gint status;
    ck_assert(waitpid(children[r], &status, 0) == children[r] && status == 0);
  }
  munmap(block, pipeline_shared_sums_size(PROCESSES));
}
END_TEST

static int count_looks(void *data)
{
  return ++*(int *)data == 2 ? 42 : 0;
}

/* The second process never comes. */
START_TEST(who_waits_in_vain_looks_around)
{
  gpointer block = make_block(2);
  int looks = 0;
  double value = 1;
  PipelineSharedSums *sums = pipeline_shared_sums_new(block, 0, 2, count_looks, &looks);
  PipelineSharedSum *sum = pipeline_shared_sum_start(sums, &value, 1, TRUE);
  pipeline_shared_sum_poll(sums, &sum);
  ck_assert_ptr_nonnull(sum);
  ck_assert_int_eq(pipeline_shared_sum_wait(sums, &sum), 42);
  ck_assert(value == 1 && looks == 2);
  pipeline_shared_sums_free(sums);
  munmap(block, pipeline_shared_sums_size(2));
}
END_TEST

/* What many processes of one machine ask for fits where a container gives 64 MiB. */
START_TEST(the_block_is_small)
{
  ck_assert_uint_le(pipeline_shared_sums_size(2), 3 << 20);
  ck_assert_uint_le(pipeline_shared_sums_size(128), 20 << 20);
}
END_TEST

int main(void)
{
  Suite *suite = suite_create("shared_sum");
  TCase *sums = tcase_create("sums");
  tcase_set_timeout(sums, 60);
  tcase_add_loop_test(sums, sums_are_in_the_order_of_ranks, 0, PROCESSES);
  tcase_add_test(sums, real_processes_share_them);
  tcase_add_test(sums, who_waits_in_vain_looks_around);
  tcase_add_test(sums, the_block_is_small);
  suite_add_tcase(suite, sums);
  SRunner *runner = srunner_create(suite);
  srunner_run_all(runner, CK_ENV);
  int failed = srunner_ntests_failed(runner);
  srunner_free(runner);
  return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
