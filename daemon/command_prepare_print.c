#include "daemon/command_prepare_print.h"

#include <stdio.h>

#include "daemon/command_clean.h"

static void print_rows(json_t *report)
{
  static const gchar *const keys[] = {"read", "without_label", "cleaned_away", "train", "validation", "test"};
  json_t *rows = json_object_get(report, "rows");
  const gchar *separator = "rows: ";
  for (guint i = 0; i < G_N_ELEMENTS(keys); i++) {
    g_autofree gchar *count = command_text_count(json_object_get(rows, keys[i]));
    g_autofree gchar *name = g_strdelimit(g_strdup(keys[i]), "_", ' ');
    printf("%s%s %s", separator, count, name);
    separator = ", ";
  }
  printf("; split by %s\n", json_string_value(json_object_get(report, "split")));
}

/* "mean (value 3.2)", "one-hot (4 texts)". */
static void append_step(GString *text, json_t *step)
{
  const gchar *name;
  json_t *value, *parameters = json_object_get(step, "parameters"), *texts = json_object_get(step, "texts");
  g_autoptr(GString) inner = g_string_new("");
  json_object_foreach (parameters, name, value) {
    if (json_is_array(value))
      g_string_append_printf(inner, "%s%zu %s", inner->len > 0 ? ", " : "", json_array_size(value), name);
    else
      g_string_append_printf(inner, "%s%s %.6g", inner->len > 0 ? ", " : "", name, json_number_value(value));
  }
  if (texts)
    g_string_append_printf(inner, "%s%" JSON_INTEGER_FORMAT " texts", inner->len > 0 ? ", " : "",
                           json_integer_value(texts));
  g_string_append_printf(text, "%s%s", text->len > 0 ? " → " : "", json_string_value(json_object_get(step, "name")));
  if (inner->len > 0) g_string_append_printf(text, " (%s)", inner->str);
}

static void print_columns(json_t *report)
{
  static const gchar *const headers[] = {"column", "steps and what they learnt", ">makes", NULL};
  CommandTable *table = command_table_new(headers);
  json_t *chain, *step;
  gsize i, s;
  json_array_foreach (json_object_get(report, "columns"), i, chain) {
    json_t *columns = json_object_get(chain, "columns"), *second = json_array_get(columns, 1);
    g_autofree gchar *name = g_strdup_printf("%s%s%s", json_string_value(json_array_get(columns, 0)), second ? "*" : "",
                                             second ? json_string_value(second) : "");
    g_autofree gchar *makes = g_strdup_printf("%zu", json_array_size(json_object_get(chain, "makes")));
    g_autoptr(GString) steps = g_string_new("");
    json_array_foreach (json_object_get(chain, "steps"), s, step) append_step(steps, step);
    command_table_add(table, name, steps->str, makes, NULL);
  }
  command_table_print(table);
  printf("%" JSON_INTEGER_FORMAT " columns are made\n", json_integer_value(json_object_get(report, "output_columns")));
}

static json_int_t whole(json_t *object, const gchar *key)
{
  return json_integer_value(json_object_get(object, key));
}

static void print_search(json_t *search)
{
  gsize i;
  json_t *chosen;
  printf("search: %" JSON_INTEGER_FORMAT " trials on %" JSON_INTEGER_FORMAT " training rows in %" JSON_INTEGER_FORMAT
         " folds by %s, ended by %s; loss %.4f, before %.4f\n",
         whole(search, "trials"), whole(search, "rows"), whole(search, "folds"),
         json_string_value(json_object_get(search, "split")), json_string_value(json_object_get(search, "stopped")),
         json_real_value(json_object_get(search, "loss")), json_real_value(json_object_get(search, "loss_before")));
  json_array_foreach (json_object_get(search, "chosen"), i, chosen)
    printf("  %s: saves %.4f (standard error %.4f over folds)\n", json_string_value(json_object_get(chosen, "chain")),
           json_real_value(json_object_get(chosen, "saved")),
           json_real_value(json_object_get(chosen, "standard_error")));
}

void command_prepare_print(json_t *report)
{
  static const gchar *const outputs[] = {"output", "model", "plan"};
  print_rows(report);
  command_clean_print(json_object_get(report, "cleaning"));
  if (json_object_get(report, "search")) print_search(json_object_get(report, "search"));
  print_columns(report);
  for (guint i = 0; i < G_N_ELEMENTS(outputs); i++) {
    const gchar *path = json_string_value(json_object_get(report, outputs[i]));
    if (path) printf("%s: %s\n", outputs[i], path);
  }
}
