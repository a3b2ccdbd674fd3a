/* What the parts of check_gpu share. */
#pragma once

#include "pipeline/gradient.h"

/* Counts and prints one line. */
void check_that(gboolean held, const gchar *format, ...) G_GNUC_PRINTF(2, 3);
void check_trainings(const PipelineGradientBackend *backend); /* trainings.c */
void check_limits(const PipelineGradientBackend *backend);    /* limits.c */
void check_wide(const PipelineGradientBackend *backend);      /* wide.c */
