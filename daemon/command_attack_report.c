/* The report of `kedge attack` for people: accuracy as it is and under attack, with counts and intervals. */
#include <stdio.h>

#include "daemon/command_attack_internal.h"

gchar *command_attack_text_rate(json_t *object, const gchar *name)
{
  g_autofree gchar *low = g_strconcat(name, "_low", NULL), *high = g_strconcat(name, "_high", NULL);
  g_autofree gchar *value = command_text_real(json_object_get(object, name), 4),
                   *from = command_text_real(json_object_get(object, low), 4),
                   *to = command_text_real(json_object_get(object, high), 4);
  return g_strdup_printf("%s (%s to %s)", value, from, to);
}

static void add_line(CommandTable *table, json_t *object, const gchar *attack)
{
  g_autofree gchar *epsilon = command_text_real(json_object_get(object, "epsilon"), 4),
                   *rate = command_attack_text_rate(object, "robust_accuracy"),
                   *robust = command_text_count(json_object_get(object, "rows_robust")),
                   *distance = command_text_real(json_object_get(object, "median_distance"), 4),
                   *queries = command_text_real(json_object_get(object, "queries_per_row"), 1),
                   *speed = command_text_real(json_object_get(object, "rows_per_second"), 0);
  command_table_add(table, epsilon, attack, rate, robust, distance, queries, speed, NULL);
}

void command_attack_print(json_t *report)
{
  g_autofree gchar *clean = command_attack_text_rate(report, "accuracy"),
                   *rows = command_text_count(json_object_get(report, "rows")),
                   *skipped = command_text_count(json_object_get(report, "rows_skipped"));
  printf("accuracy %s on %s rows (95 %% Wilson intervals); epsilon and distance: norm %s, unit %s; %s rows skipped\n\n",
         clean, rows, json_string_value(json_object_get(report, "norm")),
         json_string_value(json_object_get(report, "unit")), skipped);
  CommandTable *table = command_table_new((const gchar *const[]){
      ">epsilon", "attack", "robust accuracy", ">robust rows", ">median distance", ">queries/row", ">rows/s", NULL});
  size_t i;
  json_t *object;
  json_t *attacks = json_object_get(report, "attacks"), *worst = json_object_get(report, "worst");
  json_array_foreach (attacks, i, object) add_line(table, object, json_string_value(json_object_get(object, "attack")));
  if (json_array_size(attacks) > json_array_size(worst))
    json_array_foreach (worst, i, object) add_line(table, object, "worst of all");
  command_table_print(table);
}
