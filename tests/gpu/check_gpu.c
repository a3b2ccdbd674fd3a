/* The CUDA backend against the reference on a machine with a device (or through tests/cuda_shim without one): every
 * example of the gradient table forward and backward, optimisers, whole trainings. Ends with "N passed, N failed".
 *
 *     check_gpu [NAME…]     only those operators, or with a "-" in front all but them; "trainings", "limits" (of
 * precision and memory), "wide" (convolutions)
 */
#include <stdio.h>
#include <string.h>

#include "pipeline/gradient_check.h"
#include "tests/gpu/check.h"

static gboolean is_wanted(gint n, gchar **names, const gchar *name)
{
  gboolean others = n <= 1;
  for (gint i = 1; i < n; i++) {
    gboolean left_out = names[i][0] == '-';
    if (strcmp(names[i] + left_out, name) == 0) return !left_out;
    others = others || left_out;
  }
  return others;
}

static void check_operators(const PipelineGradientBackend *backend, gint n, gchar **names)
{
  for (const PipelineGradient *row = pipeline_gradients; row->name != NULL; row++) {
    g_autoptr(GError) error = NULL;
    const PipelineGradientKernel *kernel = pipeline_gradient_kernel_find(backend, row->name);
    if (row->inputs == 0 || !is_wanted(n, names, row->name)) continue;
    double bound = kernel != NULL ? MAX(kernel->tolerance, 1e-7) : 1e-7; /* NULL: the reference, on copies */
    double worst = pipeline_gradient_check_backend(row, backend, &error);
    check_that(worst >= 0 && worst <= bound, "%s%s: %.2g of the largest element (bound %.0e) %s", row->name,
               kernel != NULL ? "" : " (on the host)", worst, bound, error != NULL ? error->message : "");
  }
}

int main(int argc, char **argv)
{
  g_autoptr(GError) error = NULL;
  const PipelineGradientBackend *backend = pipeline_gradient_backend_find("cuda", NULL, &error);
  if (backend == NULL) {
    printf("SKIP: %s\n0 passed, 0 failed\n", error->message);
    return 0;
  }
  g_autofree gchar *what = backend->describe();
  printf("%s\n", what);
  check_operators(backend, argc, argv);
  if (is_wanted(argc, argv, "trainings")) check_trainings(backend);
  if (is_wanted(argc, argv, "limits")) check_limits(backend);
  if (is_wanted(argc, argv, "wide")) check_wide(backend);
  return check_report();
}
