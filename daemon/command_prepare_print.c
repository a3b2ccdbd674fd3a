#include "daemon/command_prepare_print.h"

#include <stdio.h>

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

/* --- cleaning ----------------------------------------------------------------------------------------------------- */

static json_int_t whole(json_t *object, const gchar *key)
{
  return json_integer_value(json_object_get(object, key));
}

static void print_duplicates(json_t *part)
{
  printf("duplicates: %" JSON_INTEGER_FORMAT " of %" JSON_INTEGER_FORMAT " training rows dropped\n",
         whole(part, "dropped"), whole(part, "rows"));
}

static void print_smoothed(json_t *part, const gchar *name)
{
  gsize i;
  json_t *column;
  json_array_foreach (part, i, column)
    printf("%s: %s: %" JSON_INTEGER_FORMAT " of %" JSON_INTEGER_FORMAT " training rows changed\n", name,
           json_string_value(json_object_get(column, "column")), whole(column, "changed"), whole(column, "rows"));
}

static void print_hampel(json_t *part)
{
  print_smoothed(part, "hampel");
}

static void print_median(json_t *part)
{
  print_smoothed(part, "median");
}

static void print_labels(json_t *part)
{
  gsize i;
  json_t *pair;
  printf("labels: %" JSON_INTEGER_FORMAT " of %" JSON_INTEGER_FORMAT
         " training rows have a label that the model of the other rows contradicts; %" JSON_INTEGER_FORMAT " dropped\n",
         whole(part, "issues"), whole(part, "rows_judged"), whole(part, "dropped"));
  json_array_foreach (json_object_get(part, "pairs"), i, pair)
    printf("  given %s, likely %s: %" JSON_INTEGER_FORMAT " rows\n", json_string_value(json_object_get(pair, "given")),
           json_string_value(json_object_get(pair, "likely")), whole(pair, "rows"));
}

static void print_leaks(json_t *part)
{
  gsize i;
  json_t *column, *columns = json_object_get(part, "columns");
  printf("leaks: %zu of %" JSON_INTEGER_FORMAT " columns are suspicious; %" JSON_INTEGER_FORMAT
         " validation rows and %" JSON_INTEGER_FORMAT " test rows are training rows too\n",
         json_array_size(columns), whole(part, "columns_checked"), whole(part, "validation_rows_in_training"),
         whole(part, "test_rows_in_training"));
  json_array_foreach (columns, i, column)
    printf("  %s: %s (%s %.4f on %" JSON_INTEGER_FORMAT " rows)\n",
           json_string_value(json_object_get(column, "column")), json_string_value(json_object_get(column, "why")),
           json_string_value(json_object_get(column, "statistic")), json_real_value(json_object_get(column, "value")),
           whole(column, "rows"));
}

static const struct {
  const gchar *key;
  void (*print)(json_t *part);
} cleanings[] = {{"duplicates", print_duplicates},
                 {"hampel", print_hampel},
                 {"median", print_median},
                 {"labels", print_labels},
                 {"leaks", print_leaks}};

static void print_search(json_t *search)
{
  gsize i;
  json_t *chosen;
  printf("search: %" JSON_INTEGER_FORMAT " trials on %" JSON_INTEGER_FORMAT " training rows in %" JSON_INTEGER_FORMAT
         " folds, ended by %s; loss %.4f, before %.4f\n",
         whole(search, "trials"), whole(search, "rows"), whole(search, "folds"),
         json_string_value(json_object_get(search, "stopped")), json_real_value(json_object_get(search, "loss")),
         json_real_value(json_object_get(search, "loss_before")));
  json_array_foreach (json_object_get(search, "chosen"), i, chosen)
    printf("  %s: saves %.4f (standard error %.4f over folds)\n", json_string_value(json_object_get(chosen, "chain")),
           json_real_value(json_object_get(chosen, "saved")),
           json_real_value(json_object_get(chosen, "standard_error")));
}

void command_prepare_print(json_t *report)
{
  static const gchar *const outputs[] = {"output", "model", "plan"};
  json_t *cleaning = json_object_get(report, "cleaning");
  print_rows(report);
  for (guint i = 0; i < G_N_ELEMENTS(cleanings); i++) {
    json_t *part = json_object_get(cleaning, cleanings[i].key);
    if (part) cleanings[i].print(part);
  }
  if (json_object_get(report, "search")) print_search(json_object_get(report, "search"));
  print_columns(report);
  for (guint i = 0; i < G_N_ELEMENTS(outputs); i++) {
    const gchar *path = json_string_value(json_object_get(report, outputs[i]));
    if (path) printf("%s: %s\n", outputs[i], path);
  }
}
