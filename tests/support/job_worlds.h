/* Two worlds for tests of jobs: version 1 of "loan" was trained on the first one, the log goes on with the second, in
 * which the labels are the other way round. */
#pragma once

#include <jansson.h>

#include "drift/table.h"
#include "tests/support/job_fixture.h"

/* The log holds 200 rows of the first world, then n of the second one; version 1 is an mlp:8 (or `architecture`). */
JobFixture *job_worlds_open(int index, gint64 n);
JobFixture *job_worlds_open_of(int index, gint64 n, const gchar *architecture);
/* Rows [first, next) of the log; new. */
DriftTable *job_worlds_read(JobFixture *fixture, gint64 first, gint64 next);
/* Version 1: trained on 200 rows of the world as it was, with the grid of those rows. */
void job_worlds_register_first(JobFixture *fixture, const gchar *architecture);
/* Creates, claims and executes; the job as it is then. */
RegistryJob *job_worlds_execute(JobFixture *fixture, const gchar *id, const gchar *kind, const gchar *spec);
json_t *job_worlds_result(const RegistryJob *job); /* of a job that is done; new */
