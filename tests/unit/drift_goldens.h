/* Reference values of other libraries, read at run time from $KEDGE_GOLDENS, shared/goldens or ../shared/goldens. */
#pragma once

#include <check.h>
#include <glib.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>

static inline gchar *goldens_path(const gchar *name)
{
  const gchar *folder = g_getenv("KEDGE_GOLDENS");
  if (folder != NULL) return g_build_filename(folder, name, NULL);
  gchar *path = g_build_filename("shared", "goldens", name, NULL);
  if (g_file_test(path, G_FILE_TEST_EXISTS)) return path;
  g_free(path);
  return g_build_filename("..", "shared", "goldens", name, NULL);
}

/* The numbers of a column of a golden CSV (no quotes); empty cells are left out. */
static inline GArray *goldens_column(const gchar *file, const gchar *column)
{
  g_autofree gchar *path = goldens_path(file), *text = NULL;
  ck_assert_msg(g_file_get_contents(path, &text, NULL, NULL), "%s", path);
  g_auto(GStrv) lines = g_strsplit(text, "\n", -1);
  g_auto(GStrv) names = g_strsplit(g_strchomp(lines[0]), ",", -1);
  guint index = 0;
  while (strcmp(names[index], column) != 0) index++;
  GArray *numbers = g_array_new(FALSE, FALSE, sizeof(double));
  for (guint i = 1; lines[i] != NULL && *lines[i] != '\0'; i++) {
    g_auto(GStrv) cells = g_strsplit(g_strchomp(lines[i]), ",", -1);
    if (*cells[index] == '\0') continue;
    double number = g_ascii_strtod(cells[index], NULL);
    g_array_append_val(numbers, number);
  }
  return numbers;
}

/* The family, or NULL with a loud line when the files are not there. */
static inline json_t *goldens_load(const gchar *name)
{
  g_autofree gchar *path = goldens_path(name);
  if (!g_file_test(path, G_FILE_TEST_EXISTS)) {
    fprintf(stderr, "SKIPPED: reference values: no %s (set KEDGE_GOLDENS)\n", path);
    return NULL;
  }
  json_t *family = json_load_file(path, 0, NULL);
  ck_assert_msg(family != NULL, "%s", path);
  return family;
}
