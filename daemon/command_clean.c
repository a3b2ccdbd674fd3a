#include "daemon/command_clean.h"

#include <stdio.h>

void command_clean_init(CommandCleanArguments *arguments)
{
  PipelineCleanOptions options;
  pipeline_clean_options_init(&options);
  *arguments = (CommandCleanArguments){.window = (gint)options.window, .hampel_limit = options.hampel_limit};
}

void command_clean_clear(CommandCleanArguments *arguments)
{
  g_clear_pointer(&arguments->what, g_free);
}

void command_clean_entries(CommandCleanArguments *a, GArray *entries)
{
  const GOptionEntry own[] = {
      {"clean", 0, 0, G_OPTION_ARG_STRING, &a->what,
       "training rows only: duplicates, hampel:A+B, median:A+B, labels, drop-labels, leaks", "WHAT,…"},
      {"window", 0, 0, G_OPTION_ARG_INT, &a->window, "of hampel and median: rows on each side (default 3)", "N"},
      {"hampel-limit", 0, 0, G_OPTION_ARG_DOUBLE, &a->hampel_limit,
       "scaled median absolute deviations from the median that are too far (default 3)", "D"}};
  g_array_append_vals(entries, own, G_N_ELEMENTS(own));
}

const gchar *command_clean_check(const CommandCleanArguments *arguments)
{
  if (arguments->window < 1 || arguments->window > 100) return "--window is 1 to 100 rows";
  if (!(arguments->hampel_limit > 0)) return "--hampel-limit is above 0";
  return NULL;
}

gboolean command_clean_read(const CommandCleanArguments *arguments, guint64 seed, PipelineCleanOptions *options,
                            GError **error)
{
  pipeline_clean_options_init(options);
  options->window = (guint)arguments->window;
  options->hampel_limit = arguments->hampel_limit;
  options->seed = seed;
  return !arguments->what || pipeline_clean_options_parse(arguments->what, options, error);
}

/* --- the report --------------------------------------------------------------------------------------------------- */

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

void command_clean_print(json_t *cleaning)
{
  for (guint i = 0; i < G_N_ELEMENTS(cleanings); i++) {
    json_t *part = json_object_get(cleaning, cleanings[i].key);
    if (part) cleanings[i].print(part);
  }
}
