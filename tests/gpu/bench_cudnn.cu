/* How fast each algorithm of cuDNN's is for the convolutions of the networks in networks.c: what the preferences in
 * pipeline/cuda/convolution.cu were chosen by. float32 without TF32; or, to hold pipeline/cuda/convolution_columns.cu
 * against, bfloat16 with channels last on tensor units, whose results are bfloat16 too.
 *
 *     bench_cudnn [bf16]     lines "SHAPE PASS ALGORITHM ms deterministic workspace", the fastest first
 */
#include <cstdio>
#include <cstring>

#include <cudnn.h>

struct Shape {
  int batch, in, out, size, kernel, stride, pad;
};

static const Shape shapes[] = {{128, 3, 64, 32, 3, 1, 1},    {128, 64, 64, 32, 3, 1, 1},   {128, 64, 128, 32, 3, 2, 1},
                               {128, 128, 128, 16, 3, 1, 1}, {128, 64, 128, 32, 1, 2, 0},  {128, 128, 256, 16, 3, 2, 1},
                               {128, 256, 256, 8, 3, 1, 1},  {128, 128, 256, 16, 1, 2, 0}, {128, 256, 512, 8, 3, 2, 1},
                               {128, 512, 512, 4, 3, 1, 1},  {128, 256, 512, 8, 1, 2, 0},  {64, 1, 6, 28, 5, 1, 2},
                               {64, 6, 16, 14, 5, 1, 0},     {256, 1, 6, 28, 5, 1, 2},     {256, 6, 16, 14, 5, 1, 0}};

template <class Result> static void show(const Shape &s, const char *pass, const Result *results, int n)
{
  for (int i = 0; i < n; i++) {
    if (results[i].status != CUDNN_STATUS_SUCCESS) continue;
    printf("%dx%d->%d@%d k%d s%d %s algo %d: %.3f ms %s %zu MB math %d\n", s.batch, s.in, s.out, s.size, s.kernel,
           s.stride, pass, (int)results[i].algo, results[i].time,
           results[i].determinism == CUDNN_DETERMINISTIC ? "deterministic" : "-", results[i].memory >> 20,
           (int)results[i].mathType);
  }
}

template <class Result> static void show_order(const char *pass, const Result *results, int n)
{
  printf("  heuristic order %s:", pass);
  for (int i = 0; i < n; i++)
    if (results[i].status == CUDNN_STATUS_SUCCESS)
      printf(" %d%s", (int)results[i].algo, results[i].determinism == CUDNN_DETERMINISTIC ? "d" : "");
  printf("\n");
}

int main(int argc, char **argv)
{
  enum { MOST = 16, VECTOR = 8 };
  bool narrow = argc > 1 && strcmp(argv[1], "bf16") == 0;
  cudnnDataType_t type = narrow ? CUDNN_DATA_BFLOAT16 : CUDNN_DATA_FLOAT;
  cudnnTensorFormat_t format = narrow ? CUDNN_TENSOR_NHWC : CUDNN_TENSOR_NCHW;
  cudnnHandle_t handle;
  cudnnTensorDescriptor_t x, y;
  cudnnFilterDescriptor_t w;
  cudnnConvolutionDescriptor_t c;
  if (cudnnCreate(&handle) != CUDNN_STATUS_SUCCESS) return printf("SKIP: no CUDA device\n"), 0;
  cudnnCreateTensorDescriptor(&x);
  cudnnCreateTensorDescriptor(&y);
  cudnnCreateFilterDescriptor(&w);
  cudnnCreateConvolutionDescriptor(&c);
  for (const Shape &s : shapes) {
    cudnnConvolutionFwdAlgoPerf_t forward[MOST];
    cudnnConvolutionBwdDataAlgoPerf_t data[MOST];
    cudnnConvolutionBwdFilterAlgoPerf_t filter[MOST];
    int n = 0, out = (s.size + 2 * s.pad - s.kernel) / s.stride + 1;
    if (narrow && s.in % VECTOR != 0) continue;
    cudnnSetTensor4dDescriptor(x, format, type, s.batch, s.in, s.size, s.size);
    cudnnSetTensor4dDescriptor(y, format, type, s.batch, s.out, out, out);
    cudnnSetFilter4dDescriptor(w, type, format, s.out, s.in, s.kernel, s.kernel);
    cudnnSetConvolution2dDescriptor(c, s.pad, s.pad, s.stride, s.stride, 1, 1, CUDNN_CROSS_CORRELATION,
                                    CUDNN_DATA_FLOAT);
    cudnnSetConvolutionMathType(c, narrow ? CUDNN_TENSOR_OP_MATH : CUDNN_FMA_MATH);
    if (cudnnFindConvolutionForwardAlgorithm(handle, x, w, c, y, MOST, &n, forward) == CUDNN_STATUS_SUCCESS)
      show(s, "forward", forward, n);
    if (cudnnGetConvolutionForwardAlgorithm_v7(handle, x, w, c, y, MOST, &n, forward) == CUDNN_STATUS_SUCCESS)
      show_order("forward", forward, n);
    if (cudnnFindConvolutionBackwardDataAlgorithm(handle, w, y, c, x, MOST, &n, data) == CUDNN_STATUS_SUCCESS)
      show(s, "data", data, n);
    if (cudnnGetConvolutionBackwardDataAlgorithm_v7(handle, w, y, c, x, MOST, &n, data) == CUDNN_STATUS_SUCCESS)
      show_order("data", data, n);
    if (cudnnFindConvolutionBackwardFilterAlgorithm(handle, x, y, c, w, MOST, &n, filter) == CUDNN_STATUS_SUCCESS)
      show(s, "filter", filter, n);
    if (cudnnGetConvolutionBackwardFilterAlgorithm_v7(handle, x, y, c, w, MOST, &n, filter) == CUDNN_STATUS_SUCCESS)
      show_order("filter", filter, n);
    fflush(stdout);
  }
  return 0;
}
