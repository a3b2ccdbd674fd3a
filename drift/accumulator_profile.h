/* Profiles of traffic: what an accumulator knows of its events, in the terms of drift/profile.h. Bins and categories
 * are those of the grid's reference, so that some of it is less exact than of a table, as each field says. */
#pragma once

#include "drift/accumulator.h"
#include "drift/profile.h"

G_BEGIN_DECLS

/* Features and, where they have values, the outputs prediction, score and latency_ms. Minimum, maximum (of finite
 * values), mean and deviation are the accumulator's; quartiles are interpolated in bins; n_distinct is the number of
 * bins or categories with values, at least 1 for the values beyond them, so a lower bound; unseen categories are
 * counted as values and make the column open; whole is FALSE, n_infinite 0, duplicates 0 with a limit of 1, because
 * that is not known. */
DriftProfile *drift_profile_from_accumulator(const DriftAccumulator *accumulator);
/* The events held against a profile, as drift_profile_check does a table; rows are -1, and there are no violations by
 * whole numbers, infinities or duplicates. Out of range are the values in bins that lie wholly outside (a lower bound;
 * at least 1 when the extremes say so). Texts that the reference of the grid lacks count as unseen where the profile is
 * not open, without an example. The label may be in the profile and is not looked for. */
GPtrArray *drift_profile_check_accumulator(const DriftProfile *profile, const DriftAccumulator *accumulator);

G_END_DECLS
