/* What command_attack.c, command_smooth.c (the commands) and command_attack_report.c (what they print) share. */
#pragma once

#include "daemon/command_data.h"
#include "pipeline/robustness.h"

G_BEGIN_DECLS

/* Every attack at every radius, on the same rows. */
typedef struct {
  const gchar *unit; /* of radii and distances: "sd", "absolute" */
  PipelineNorm norm;
  GArray *epsilons;    /* of double */
  GPtrArray *types;    /* of const PipelineAttackType * */
  GPtrArray *measured; /* of PipelineRobustness *, by epsilon, then type */
} AttackReport;

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

/* count / n as NAME, with NAME_low and NAME_high of its Wilson interval of 95 %. */
void command_attack_set_rate(json_t *object, const gchar *name, guint64 count, guint64 n);
gchar *command_attack_text_rate(json_t *object, const gchar *name); /* ".857 (.832 to .879)"; new */

/* The points (command_attack_write.c): path "….npz" arrays, else a CSV. */
gboolean command_attack_write(const gchar *path, const PipelineRobustness *robustness, const DriftSchema *schema,
                              const DriftTable *table, GError **error);

json_t *command_attack_describe(const AttackReport *report);
void command_attack_print(json_t *report);

G_END_DECLS
