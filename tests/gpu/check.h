/* What the checks on a device share. */
#pragma once

#include "pipeline/gradient.h"

/* Counts and prints one line. */
void check_that(gboolean held, const gchar *format, ...) G_GNUC_PRINTF(2, 3);
int check_report(void);                                       /* "N passed, N failed"; the exit status */
void check_trainings(const PipelineGradientBackend *backend); /* trainings.c */
void check_limits(const PipelineGradientBackend *backend);    /* limits.c */
void check_wide(const PipelineGradientBackend *backend);      /* wide.c */
