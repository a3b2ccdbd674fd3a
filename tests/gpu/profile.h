/* Times of the functions of a device's table. */
#pragma once

#include <glib.h>

#include "pipeline/cuda/device.h"

/* The same table, whose functions are timed; counts from 0. One at a time. */
const PipelineCudaTable *profile_begin(const PipelineCudaTable *table);
void profile_print(const gchar *name, guint steps); /* one line, the longest first */
