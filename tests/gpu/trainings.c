/* Whole trainings on the device and on the reference. */
#include "tests/gpu/check.h"

void check_trainings(const PipelineGradientBackend *backend)
{
  (void)backend;
}
