/* What command_attack.c, command_smooth.c (the commands) and command_attack_report.c (what they print) share. */
#pragma once

#include "daemon/command_data.h"
#include "pipeline/robustness_report.h"

G_BEGIN_DECLS

/* Which rows are looked at. */
typedef struct {
  gchar *data, *label, *features;
  gint64 rows; /* the first so many; 0: all */
} CommandAttackData;
void command_attack_data_clear(CommandAttackData *data);
/* The rows and the model that `reference` names; NULL: an error, with model cleared. */
DriftTable *command_attack_read_data(const CommandCommon *common, const CommandAttackData *data, const gchar *reference,
                                     CommandModel *model, GError **error);
/* "0.1,0.2" appended to radii (of double); option: for the message. */
gboolean command_attack_parse_radii(const gchar *text, const gchar *option, GArray *radii, GError **error);

gchar *command_attack_text_rate(json_t *object, const gchar *name); /* ".857 (.832 to .879)"; new */

/* The points (command_attack_write.c): path "….npz" arrays, else a CSV. */
gboolean command_attack_write(const gchar *path, const PipelineRobustness *robustness, const DriftSchema *schema,
                              const DriftTable *table, GError **error);

void command_attack_print(json_t *report);

G_END_DECLS
