/* Convolutions as wide as those that a device computes by Winograd (pipeline/cuda/convolution.cu): the examples of the
 * gradient table are narrow. */
#include "pipeline/gradient_check.h"
#include "tests/gpu/check.h"

/* Of the largest element, outputs and gradients. The transforms of F(4 × 4, 3 × 3) multiply float32's rounding by some
 * hundreds in the worst case (Barabasz et al. 2020, "Error Analysis and Improving the Accuracy of Winograd Convolution
 * for Deep Neural Networks"); direct sums stay below the bound of the table, 2e-5. */
#define WINOGRAD 5e-4

static const gchar *const examples[] = {
    "f[2,64,8,8] ?; f[64,64,3,3] ?; f[64] ? { pads=[1,1,1,1] }",
    "f[1,128,7,6] ?; f[64,128,3,3] ? { pads=[1,1,1,1] }",
    "f[3,64,5,5] ?; f[96,64,3,3] ?",
};

void check_wide(const PipelineGradientBackend *backend)
{
  for (guint i = 0; i < G_N_ELEMENTS(examples); i++) {
    g_autoptr(GError) error = NULL;
    PipelineGradient wide = *pipeline_gradient_find("", "Conv");
    wide.examples = examples[i];
    double worst = pipeline_gradient_check_backend(&wide, backend, &error);
    check_that(worst >= 0 && worst <= WINOGRAD, "wide Conv %s: %.2g of the largest element (bound %.0e) %s",
               examples[i], worst, WINOGRAD, error != NULL ? error->message : "");
  }
}
