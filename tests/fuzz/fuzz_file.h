/* An input as a file that readers of paths can open, without touching a disk. */
#pragma once

#include <sys/mman.h>
#include <unistd.h>

#include <glib.h>

/* The path of a file in memory with these bytes; the same file each time. */
static inline const gchar *fuzz_file(const guint8 *data, gsize length)
{
  static int file = -1;
  static gchar path[64];
  if (file < 0) {
    file = memfd_create("input", MFD_CLOEXEC);
    g_assert(file >= 0);
    g_snprintf(path, sizeof path, "/proc/self/fd/%d", file);
  }
  g_assert(ftruncate(file, 0) == 0);
  g_assert(length == 0 || pwrite(file, data, length, 0) == (gssize)length);
  return path;
}
