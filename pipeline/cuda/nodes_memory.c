/* What nodes keep on the device beside their values: the buffers that their files ask for. */
#include <string.h>

#include "pipeline/cuda/nodes.h"

typedef void (*Need)(PipelineGradientCall *call, double growth, PipelineGraphNeed *need);

static void keep(const PipelineTensor *like, double elements, double growth, PipelineGraphNeed *need)
{
  need->kept = (gsize)(elements * (double)(like->n * sizeof(float)) * growth);
}

/* A number for each element of the result: which was chosen, a mask, a gradient before it is summed up. */
static void need_output(PipelineGradientCall *call, double growth, PipelineGraphNeed *need)
{
  keep(call->call.outputs[0], 1, growth, need);
}

/* Only operands that were broadcast. */
static void need_broadcast(PipelineGradientCall *call, double growth, PipelineGraphNeed *need)
{
  const PipelineTensor *y = call->call.outputs[0];
  for (guint i = 0; i < call->call.n_inputs; i++)
    if (call->call.inputs[i] != NULL && call->call.inputs[i]->n != y->n) keep(y, 1, growth, need);
}

/* Where each element of the result comes from, and each of the input goes. */
static void need_places(PipelineGradientCall *call, double growth, PipelineGraphNeed *need)
{
  need->kept = (gsize)((double)((2 * call->call.outputs[0]->n + call->call.inputs[0]->n) * sizeof(gint32)) * growth);
}

static void need_indices(PipelineGradientCall *call, double growth, PipelineGraphNeed *need)
{
  keep(call->call.inputs[1], 2, growth, need);
}

/* Copies in bfloat16 of two of the operands and the result. */
static void need_product(PipelineGradientCall *call, double growth, PipelineGraphNeed *need)
{
  const PipelineTensor *a = call->call.inputs[0], *b = call->call.inputs[1], *y = call->call.outputs[0];
  double grown = b->n_dims > 2 ? growth : 1;
  if (call->precision != PIPELINE_PRECISION_BFLOAT16) return;
  need->workspace = (gsize)(sizeof(guint16) * ((double)(a->n + y->n) * growth + (double)b->n * grown));
}

static const struct {
  const gchar *operator;
  Need need;
} table[] = {{"Gemm", need_product},
             {"MatMul", need_product},
             {"Conv", pipeline_cuda_convolution_node_need},
             {"ConvTranspose", pipeline_cuda_convolution_transpose_node_need},
             {"LSTM", pipeline_cuda_recurrent_node_need},
             {"GRU", pipeline_cuda_recurrent_node_need},
             {"MaxPool", need_output},
             {"GlobalMaxPool", need_output},
             {"ReduceMax", need_output},
             {"ReduceMin", need_output},
             {"Dropout", need_output},
             {"Where", need_output},
             {"Mul", need_broadcast},
             {"Div", need_broadcast},
             {"Pow", need_broadcast},
             {"Min", need_broadcast},
             {"Max", need_broadcast},
             {"PRelu", need_broadcast},
             {"Pad", need_places},
             {"Slice", need_places},
             {"Gather", need_indices}};

void pipeline_cuda_need(PipelineGradientCall *call, double growth, PipelineGraphNeed *need)
{
  *need = (PipelineGraphNeed){0};
  for (guint i = 0; i < G_N_ELEMENTS(table); i++)
    if (strcmp(table[i].operator, call->call.node->op_type) == 0) table[i].need(call, growth, need);
}
