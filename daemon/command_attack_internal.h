/* What command_attack.c (the command) and command_attack_report.c (what it prints) share. */
#pragma once

#include "daemon/command.h"
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

json_t *command_attack_describe(const AttackReport *report);
void command_attack_print(json_t *report);

G_END_DECLS
