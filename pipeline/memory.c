#include "pipeline/memory.h"

#include <sys/mman.h>

gboolean pipeline_memory_require(gsize bytes, GError **error)
{
  void *room = mmap(NULL, bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (room != MAP_FAILED) {
    munmap(room, bytes);
    return TRUE;
  }
  g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_UNSUPPORTED,
              "less than %zu MiB of memory can still be had, which training needs beside its rows; raise the limit "
              "(ulimit -v, limits.memory_bytes of a job) or give fewer rows",
              bytes >> 20);
  return FALSE;
}
