/* For the files of this folder only. */
#pragma once

/* Columns of a job that never change after creation: id, model, kind, priority, deadline, spec, incident,
 * maximum_attempts, created_at, predicted_us; column `digest` covers them. `result_digest` covers id, state, result,
 * error of an ended job. */
#define REGISTRY_JOB_FIXED 10
