/* How far gradients are from differences, and kernels from the reference: the examples of a row, run.
 *
 *     [@OPSET] INPUT; INPUT … { name=value … } [=> OUTPUTS]     several of them separated by " | "
 *
 * An input is "f[2,3] ?": random in (−1, 1), "?+": in (0.5, 1.5), "?d": shuffled values that lie 0.13 apart, none near
 * 0 (for operators with kinks); or the values themselves as in the operator table (constants of the node). OUTPUTS: how
 * many the node has; 1. The set is 21 unless given. Attributes are written as in the operator table.
 */
#pragma once

#include "pipeline/gradient.h"

G_BEGIN_DECLS

/* The largest |gradient − difference| of all examples, over the largest gradient element of its input (at least .01):
 * projections of the outputs on random directions, by differences of fourth order (f(x−2h), f(x−h), f(x+h), f(x+2h); h
 * = .02), summed in double. Negative with error set when an example does not run; the error quotes it. */
double pipeline_gradient_check_differences(const PipelineGradient *gradient, const PipelineGradientBackend *backend,
                                           GError **error);
/* The largest |value − reference's| of outputs and gradients over the largest element, in training and prediction. */
double pipeline_gradient_check_backend(const PipelineGradient *gradient, const PipelineGradientBackend *backend,
                                       GError **error);
/* The same with products in `precision` on both; in bfloat16 the reference rounds their operands as the backend does.
 */
double pipeline_gradient_check_precision(const PipelineGradient *gradient, const PipelineGradientBackend *backend,
                                         PipelinePrecision precision, GError **error);

G_END_DECLS
