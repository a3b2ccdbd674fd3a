/* Convolutions as wide as those that a device computes by Winograd (pipeline/cuda/convolution.cu), for the examples of
 * the gradient table are narrow; and convolutions in bfloat16 (pipeline/cuda/convolution_columns.cu). */
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

/* In bfloat16 both round the same operands: what is left is the order of sums, and that tensor units cut off what does
 * not fit under the largest addend (Fasi et al. 2021, "Numerical behavior of NVIDIA tensor cores"). A convolution that
 * rounds nothing is off by some 1e-3. */
#define ROUNDED 2e-4

static const gchar *const narrow_examples[] = {
    "f[2,64,8,8] ?; f[64,64,3,3] ?; f[64] ? { pads=[1,1,1,1] }",   /* turned afterwards */
    "f[2,64,12,11] ?; f[72,64,3,3] ?; f[72] ? { pads=[1,1,1,1] }", /* one product an image */
    "f[3,64,9,10] ?; f[128,64,3,3] ? { pads=[1,1,1,1] strides=[2,2] }",
    "f[2,64,12,12] ?; f[128,64,1,1] ? { strides=[2,2] }",
    "f[2,64,9,9] ?; f[40,64,1,1] ?; f[40] ?",                    /* nothing to unfold */
    "f[2,3,16,16] ?; f[64,3,3,3] ?; f[64] ? { pads=[1,1,1,1] }", /* channels in no whole vectors */
    "f[3,1,14,14] ?; f[6,1,5,5] ?; f[6] ? { pads=[2,2,2,2] }",
    "f[2,24,11,9] ?; f[20,24,3,2] ?; f[20] ? { dilations=[2,3] pads=[0,1,3,2] }", /* other paddings at both ends */
    "f[60,16,64,64] ?; f[16,16,3,3] ? { pads=[1,1,1,1] }",               /* more columns than lie there at once */
    "f[2,32,8,8] ?; f[64,16,3,3] ?; f[64] ? { group=2 pads=[1,1,1,1] }", /* by cuDNN, from rounded copies */
    "f[2,16,9,9] ?; f[16,1,3,3] ? { group=16 strides=[2,2] pads=[1,1,1,1] }",
};

static void check_narrow(const PipelineGradient *row, const PipelineGradientBackend *backend, double bound)
{
  g_autoptr(GError) error = NULL;
  double worst = pipeline_gradient_check_precision(row, backend, PIPELINE_PRECISION_BFLOAT16, &error);
  check_that(worst >= 0 && worst <= bound, "bf16 %s %s: %.2g of the largest element (bound %.0e) %s", row->name,
             row->examples, worst, bound, error != NULL ? error->message : "");
}

void check_wide(const PipelineGradientBackend *backend)
{
  const PipelineGradient *row = pipeline_gradient_find("", "Conv");
  for (guint i = 0; i < G_N_ELEMENTS(examples); i++) {
    g_autoptr(GError) error = NULL;
    PipelineGradient wide = *row;
    wide.examples = examples[i];
    double worst = pipeline_gradient_check_backend(&wide, backend, &error);
    check_that(worst >= 0 && worst <= WINOGRAD, "wide Conv %s: %.2g of the largest element (bound %.0e) %s",
               examples[i], worst, WINOGRAD, error != NULL ? error->message : "");
  }
  check_narrow(row, backend, ROUNDED); /* the examples of the table */
  for (guint i = 0; i < G_N_ELEMENTS(narrow_examples); i++) {
    PipelineGradient narrow = *row;
    narrow.examples = narrow_examples[i];
    check_narrow(&narrow, backend, ROUNDED);
  }
}
