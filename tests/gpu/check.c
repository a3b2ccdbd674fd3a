#include "tests/gpu/check.h"

#include <stdio.h>

static guint check_passed, check_failed;

void check_that(gboolean held, const gchar *format, ...)
{
  va_list arguments;
  va_start(arguments, format);
  g_autofree gchar *what = g_strdup_vprintf(format, arguments);
  va_end(arguments);
  held ? check_passed++ : check_failed++;
  printf("%s %s\n", held ? "ok    " : "FAILED", what);
  fflush(stdout);
}

int check_report(void)
{
  printf("%u passed, %u failed\n", check_passed, check_failed);
  return check_failed > 0;
}
