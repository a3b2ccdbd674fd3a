#include "pipeline/mpi/shared_sum.h"

#include <limits.h>
#include <linux/futex.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define LINE 64u /* bytes of a cache line */
#define SLOTS 16u
#define PIECE_BYTES ((size_t)1 << 16) /* several pieces of a sum lie in a second-level cache */
#define LEAST_BYTES ((size_t)1 << 12)
#define ALL_BYTES ((size_t)1 << 20) /* of a slot over all processes: containers have little shared memory */
#define SPIN_SECONDS 1e-2           /* a virtual processor that sleeps is given away, and wakes up late */
#define SPIN_LOOKS 64               /* between looks at the clock */
#define IDLE_NANOSECONDS 100000000
#define BLOCK 512 /* elements that are added up at a time */

/* Both count over all turns of the slot and all processes, and wrap. */
typedef struct {
  _Alignas(LINE) _Atomic uint32_t laid; /* pieces laid down */
  _Atomic uint32_t sleepers_laid;
  _Alignas(LINE) _Atomic uint32_t taken; /* pieces added up */
  _Atomic uint32_t sleepers_taken;
} Slot;
_Static_assert(sizeof(_Atomic uint32_t) == sizeof(uint32_t), "the kernel waits on a plain number");

struct PipelineSharedSum {
  PipelineSharedSum *next; /* started later */
  char *values;
  size_t bytes, laid, taken; /* bytes; laid: by this process */
  int doubles;
};

struct PipelineSharedSums {
  Slot *slots;
  char *data; /* [SLOTS, processes, piece] */
  size_t piece;
  unsigned rank, processes;
  uint64_t n_laid, n_taken;        /* pieces of this process, over all sums */
  PipelineSharedSum *first, *last; /* that are not done, in their order */
  int (*idle)(void *data);
  void *idle_data;
};

static size_t piece_bytes(unsigned processes)
{
  size_t share = ALL_BYTES / processes / LINE * LINE;
  return share > PIECE_BYTES ? PIECE_BYTES : share < LEAST_BYTES ? LEAST_BYTES : share;
}

size_t pipeline_shared_sums_size(unsigned processes)
{
  return SLOTS * (sizeof(Slot) + processes * piece_bytes(processes));
}

PipelineSharedSums *pipeline_shared_sums_new(void *block, unsigned rank, unsigned processes, int (*idle)(void *data),
                                             void *data)
{
  PipelineSharedSums *sums = calloc(1, sizeof *sums);
  if (sums == NULL) return NULL;
  sums->slots = block;
  sums->data = (char *)block + SLOTS * sizeof(Slot);
  sums->piece = piece_bytes(processes);
  sums->rank = rank;
  sums->processes = processes;
  sums->idle = idle;
  sums->idle_data = data;
  return sums;
}

void pipeline_shared_sums_free(PipelineSharedSums *sums)
{
  if (sums == NULL) return;
  while (sums->first != NULL) {
    PipelineSharedSum *next = sums->first->next;
    free(sums->first);
    sums->first = next;
  }
  free(sums);
}

/* --- counting ----------------------------------------------------------------------------------------------------- */

/* Sequentially consistent on both sides: either the sleeper is seen here, or the kernel sees the new number there. */
static void count(_Atomic uint32_t *number, _Atomic uint32_t *sleepers, uint32_t wanted)
{
  if (atomic_fetch_add(number, 1) + 1 == wanted && atomic_load(sleepers) > 0)
    syscall(SYS_futex, number, FUTEX_WAKE, INT_MAX, NULL, NULL, 0);
}

static double seconds_now(void)
{
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

/* Spins as long as the others need when everybody has a core, then leaves this one to whoever needs it. */
static int wait_until(const PipelineSharedSums *sums, _Atomic uint32_t *number, _Atomic uint32_t *sleepers,
                      uint32_t wanted)
{
  const struct timespec pause = {.tv_nsec = IDLE_NANOSECONDS};
  double begin = seconds_now();
  do {
    for (int i = 0; i < SPIN_LOOKS; i++)
      if (atomic_load_explicit(number, memory_order_acquire) == wanted) return 0;
    sched_yield();
  } while (seconds_now() - begin < SPIN_SECONDS);
  int code = 0;
  atomic_fetch_add(sleepers, 1);
  for (uint32_t seen = atomic_load(number); code == 0 && seen != wanted; seen = atomic_load(number)) {
    syscall(SYS_futex, number, FUTEX_WAIT, seen, &pause, NULL, 0);
    if (sums->idle != NULL && atomic_load(number) != wanted) code = sums->idle(sums->idle_data);
  }
  atomic_fetch_sub(sleepers, 1);
  return code;
}

/* --- pieces ------------------------------------------------------------------------------------------------------- */

static char *data_of(const PipelineSharedSums *sums, uint64_t piece, unsigned rank)
{
  return sums->data + ((size_t)(piece % SLOTS) * sums->processes + rank) * sums->piece;
}

/* What a slot has counted when all have done with this piece, and when all had done with the one before it. */
static uint32_t count_after(const PipelineSharedSums *sums, uint64_t piece)
{
  return (uint32_t)((piece / SLOTS + 1) * sums->processes);
}

static uint32_t count_before(const PipelineSharedSums *sums, uint64_t piece)
{
  return (uint32_t)(piece / SLOTS * sums->processes);
}

static int slot_is_free(const PipelineSharedSums *sums, uint64_t piece)
{
  uint32_t taken = atomic_load_explicit(&sums->slots[piece % SLOTS].taken, memory_order_acquire);
  return taken == count_before(sums, piece);
}

static int piece_is_there(const PipelineSharedSums *sums, uint64_t piece)
{
  return atomic_load_explicit(&sums->slots[piece % SLOTS].laid, memory_order_acquire) == count_after(sums, piece);
}

static size_t next_bytes(const PipelineSharedSums *sums, const PipelineSharedSum *sum, size_t done)
{
  return sum->bytes - done < sums->piece ? sum->bytes - done : sums->piece;
}

static void lay_down(PipelineSharedSums *sums, PipelineSharedSum *sum)
{
  uint64_t piece = sums->n_laid++;
  Slot *slot = &sums->slots[piece % SLOTS];
  size_t bytes = next_bytes(sums, sum, sum->laid);
  memcpy(data_of(sums, piece, sums->rank), sum->values + sum->laid, bytes);
  sum->laid += bytes;
  count(&slot->laid, &slot->sleepers_laid, count_after(sums, piece));
}

static void add_floats(float *restrict total, const float *restrict values, size_t n)
{
  for (size_t i = 0; i < n; i++) total[i] += values[i];
}

static void add_doubles(double *restrict total, const double *restrict values, size_t n)
{
  for (size_t i = 0; i < n; i++) total[i] += values[i];
}

static void add_up(PipelineSharedSums *sums, PipelineSharedSum *sum)
{
  uint64_t piece = sums->n_taken++;
  Slot *slot = &sums->slots[piece % SLOTS];
  size_t bytes = next_bytes(sums, sum, sum->taken), width = sum->doubles ? sizeof(double) : sizeof(float);
  for (size_t start = 0, here; start < bytes; start += here) {
    here = bytes - start < BLOCK * width ? bytes - start : BLOCK * width;
    char *total = sum->values + sum->taken + start;
    memcpy(total, data_of(sums, piece, 0) + start, here);
    for (unsigned r = 1; r < sums->processes; r++) {
      const void *values = data_of(sums, piece, r) + start;
      if (sum->doubles)
        add_doubles((void *)total, values, here / width);
      else
        add_floats((void *)total, values, here / width);
    }
  }
  sum->taken += bytes;
  count(&slot->taken, &slot->sleepers_taken, count_after(sums, piece));
}

/* The oldest sum that has something to lay down, or NULL. */
static PipelineSharedSum *find_waiting(const PipelineSharedSums *sums)
{
  PipelineSharedSum *sum = sums->first;
  while (sum != NULL && sum->laid == sum->bytes) sum = sum->next;
  return sum;
}

/* Whatever goes without waiting. A sum that is done leaves the queue and is its holder's to free. */
static void go_on(PipelineSharedSums *sums)
{
  for (int moved = 1; moved;) {
    moved = 0;
    for (PipelineSharedSum *sum; (sum = find_waiting(sums)) != NULL && slot_is_free(sums, sums->n_laid); moved = 1)
      lay_down(sums, sum);
    for (PipelineSharedSum *sum; (sum = sums->first) != NULL && sum->taken < sum->laid; moved = 1) {
      if (!piece_is_there(sums, sums->n_taken)) break;
      add_up(sums, sum);
      if (sum->taken == sum->bytes) sums->first = sum->next;
    }
  }
}

/* For the piece that this process needs next. */
static int wait_for_next(PipelineSharedSums *sums)
{
  uint64_t piece = sums->n_taken;
  Slot *slot = &sums->slots[piece % SLOTS];
  return piece != sums->n_laid ? wait_until(sums, &slot->laid, &slot->sleepers_laid, count_after(sums, piece))
                               : wait_until(sums, &slot->taken, &slot->sleepers_taken, count_before(sums, piece));
}

/* --- sums --------------------------------------------------------------------------------------------------------- */

PipelineSharedSum *pipeline_shared_sum_start(PipelineSharedSums *sums, void *values, size_t n, int doubles)
{
  PipelineSharedSum *sum = calloc(1, sizeof *sum);
  if (sum == NULL) return NULL;
  sum->values = values;
  sum->bytes = n * (doubles ? sizeof(double) : sizeof(float));
  sum->doubles = doubles;
  if (n == 0) return sum;
  if (sums->first == NULL)
    sums->first = sum;
  else
    sums->last->next = sum;
  sums->last = sum;
  go_on(sums);
  return sum;
}

static void settle(PipelineSharedSum **sum)
{
  if ((*sum)->taken < (*sum)->bytes) return;
  free(*sum);
  *sum = NULL;
}

void pipeline_shared_sum_poll(PipelineSharedSums *sums, PipelineSharedSum **sum)
{
  go_on(sums);
  settle(sum);
}

int pipeline_shared_sum_wait(PipelineSharedSums *sums, PipelineSharedSum **sum)
{
  int code = 0;
  for (go_on(sums); code == 0 && (*sum)->taken < (*sum)->bytes; go_on(sums)) code = wait_for_next(sums);
  if (code == 0) settle(sum);
  return code;
}
