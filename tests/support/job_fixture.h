/* What tests of jobs start from: a store, artifacts, a model "loan" with numeric x0, x1 and categorical "region",
 * classes "no" and "yes", and labelled rows in its log. */
#pragma once

#include "drift/schema.h"
#include "registry/artifact.h"
#include "registry/job.h"
#include "tests/support/postgres_store.h"

typedef struct {
  TestStore *test;
  RegistryStore *store; /* borrowed from test */
  gchar *artifacts_directory;
  RegistryArtifacts *artifacts;
  DriftSchema *schema;
} JobFixture;

JobFixture *job_fixture_open(int index);
void job_fixture_close(JobFixture *fixture);

/* Row `number` of the log: x0, x1 in (-1, 1) by a fixed generator; label "yes" when x0 + x1 > 0 (from flipped_from
 * on the other way; from one_class_from on always; 0: never), region by number; event time 1000000 * number; traffic
 * offset number, label offset 10000 + number. A label of no known class every `unknown_each` rows (0: never). */
typedef struct {
  gint64 n_rows;
  gint64 flipped_from, one_class_from, unknown_each;
} JobRows;
/* Appends the rows to (partition 0, label partition 0) of model "loan", from row 0. */
void job_fixture_append(JobFixture *fixture, const JobRows *rows);
/* The bytes of rows [first, next) as appended; new. */
GBytes *job_fixture_bytes(JobFixture *fixture, const JobRows *rows, gint64 first, gint64 next);
/* Creates a job of model "loan" and claims it for worker "w" unless claim is FALSE (then NULL is returned). */
RegistryJob *job_fixture_job(JobFixture *fixture, const gchar *id, const gchar *kind, const gchar *spec,
                             gboolean claim);
