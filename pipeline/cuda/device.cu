/* A device: stream, handles, copies, errors, recordings; and the table. */
#include <cstdlib>

#include "pipeline/cuda/device_internal.h"

#define STAGING_BYTES ((size_t)16 << 20)
#define LANDING_BYTES ((size_t)4 << 20)
#define BLAS_WORKSPACE_BYTES ((size_t)32 << 20) /* NVIDIA's advice for the newest architectures */
#define OLDEST_DRIVER 13000

/* --- errors ---------------------------------------------------------------------------------------------------------
 */

int pipeline_cuda_fail(PipelineCudaDevice *device, const char *what, const char *name)
{
  device->lacks_memory = false;
  snprintf(device->message, sizeof device->message, "CUDA cannot %s: %s", what, name);
  return 1;
}

int pipeline_cuda_check(PipelineCudaDevice *device, cudaError_t error, const char *what)
{
  if (error == cudaSuccess) return 0;
  cudaGetLastError(); /* else the next kernel would be blamed for it */
  device->lacks_memory = error == cudaErrorMemoryAllocation;
  snprintf(device->message, sizeof device->message, "CUDA cannot %s: %s (%s)", what, cudaGetErrorName(error),
           cudaGetErrorString(error));
  return 1;
}

int pipeline_cuda_check_launch(PipelineCudaDevice *device, const char *what)
{
  return pipeline_cuda_check(device, cudaGetLastError(), what);
}

int pipeline_cuda_check_blas(PipelineCudaDevice *device, cublasStatus_t status, const char *what)
{
  if (status == CUBLAS_STATUS_SUCCESS) return 0;
  pipeline_cuda_fail(device, what, cublasGetStatusName(status));
  device->lacks_memory = status == CUBLAS_STATUS_ALLOC_FAILED;
  return 1;
}

int pipeline_cuda_check_dnn(PipelineCudaDevice *device, cudnnStatus_t status, const char *what)
{
  return status == CUDNN_STATUS_SUCCESS ? 0 : pipeline_cuda_fail(device, what, cudnnGetErrorString(status));
}

/* --- copies ---------------------------------------------------------------------------------------------------------
 */

static int finish(PipelineCudaDevice *device)
{
  return pipeline_cuda_check(device, cudaStreamSynchronize(device->stream), "finish what was queued");
}

/* Through a ring of pinned memory, so that the host goes on at once; what is larger than the ring waits. */
static int copy_in(PipelineCudaDevice *device, void *to, const void *from, size_t bytes)
{
  if (bytes == 0) return 0;
  if (device->recording) return pipeline_cuda_fail(device, "copy to the device", "a step is being recorded");
  if (bytes > STAGING_BYTES)
    return pipeline_cuda_check(device, cudaMemcpyAsync(to, from, bytes, cudaMemcpyHostToDevice, device->stream),
                               "copy to the device") ||
           finish(device);
  if (device->staged + bytes > STAGING_BYTES) {
    if (finish(device)) return 1;
    device->staged = 0;
  }
  unsigned char *place = device->staging + device->staged;
  memcpy(place, from, bytes);
  device->staged += (bytes + 63) / 64 * 64;
  return pipeline_cuda_check(device, cudaMemcpyAsync(to, place, bytes, cudaMemcpyHostToDevice, device->stream),
                             "copy to the device");
}

static int copy_out(PipelineCudaDevice *device, void *to, const void *from, size_t bytes)
{
  if (bytes == 0) return 0;
  if (device->recording) return pipeline_cuda_fail(device, "copy from the device", "a step is being recorded");
  void *place = bytes <= LANDING_BYTES ? device->landing : to;
  if (pipeline_cuda_check(device, cudaMemcpyAsync(place, from, bytes, cudaMemcpyDeviceToHost, device->stream),
                          "copy from the device") ||
      finish(device))
    return 1;
  if (place != to) memcpy(to, place, bytes);
  return 0;
}

static int copy(PipelineCudaDevice *device, void *to, const void *from, size_t bytes)
{
  if (bytes == 0) return 0;
  return pipeline_cuda_check(device, cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToDevice, device->stream),
                             "copy on the device");
}

static int clear(PipelineCudaDevice *device, void *buffer, size_t bytes)
{
  if (bytes == 0) return 0;
  return pipeline_cuda_check(device, cudaMemsetAsync(buffer, 0, bytes, device->stream), "clear memory");
}

/* --- results of steps
 * ------------------------------------------------------------------------------------------------- */

static int step_begin(PipelineCudaDevice *device, const PipelineCudaStep *step)
{
  return copy_in(device, device->step, step, sizeof *step);
}

static int scale_set(PipelineCudaDevice *device, double scale, uint64_t steps)
{
  const double scaling[] = {scale, (double)steps};
  return copy_in(device, device->scaling, scaling, sizeof scaling);
}

static int results_send(PipelineCudaDevice *device, unsigned group)
{
  size_t first = (size_t)group * PIPELINE_CUDA_GROUP * 2, n = PIPELINE_CUDA_GROUP * 2;
  return pipeline_cuda_check(device,
                             cudaMemcpyAsync(device->host_results + first, device->results + first, n * sizeof(double),
                                             cudaMemcpyDeviceToHost, device->stream),
                             "send results") ||
         pipeline_cuda_check(device, cudaEventRecord(device->sent[group], device->stream), "send results");
}

static int results_get(PipelineCudaDevice *device, unsigned group, double (*results)[2])
{
  if (pipeline_cuda_check(device, cudaEventSynchronize(device->sent[group]), "finish steps of the training")) return 1;
  memcpy(results, device->host_results + (size_t)group * PIPELINE_CUDA_GROUP * 2,
         PIPELINE_CUDA_GROUP * 2 * sizeof(double));
  return 0;
}

/* --- recordings
 * ------------------------------------------------------------------------------------------------------- */

static uint64_t get_changes(const PipelineCudaDevice *device)
{
  return device->changes;
}

static int record_begin(PipelineCudaDevice *device)
{
  if (pipeline_cuda_check(device, cudaStreamBeginCapture(device->stream, cudaStreamCaptureModeThreadLocal),
                          "record a step"))
    return 1;
  device->recording = true;
  return 0;
}

static void *record_end(PipelineCudaDevice *device)
{
  cudaGraph_t graph = nullptr;
  cudaGraphExec_t recording = nullptr;
  device->recording = false;
  if (pipeline_cuda_check(device, cudaStreamEndCapture(device->stream, &graph), "record a step")) {
    cudaGetLastError();
    return nullptr;
  }
  int failed = pipeline_cuda_check(device, cudaGraphInstantiate(&recording, graph, 0), "prepare a recorded step");
  cudaGraphDestroy(graph);
  return failed ? nullptr : recording;
}

static int replay(PipelineCudaDevice *device, void *recording)
{
  return pipeline_cuda_check(device, cudaGraphLaunch(static_cast<cudaGraphExec_t>(recording), device->stream),
                             "replay a step");
}

static void recording_free(PipelineCudaDevice *device, void *recording)
{
  (void)device;
  cudaGraphExecDestroy(static_cast<cudaGraphExec_t>(recording));
}

/* --- opening -------------------------------------------------------------------------------------------------------
 */

static void close_device(PipelineCudaDevice *device)
{
  if (device->stream != nullptr) cudaStreamSynchronize(device->stream);
  pipeline_cuda_memory_close(device);
  if (device->cudnn != nullptr) cudnnDestroy(device->cudnn);
  if (device->cublas != nullptr) cublasDestroy(device->cublas);
  for (unsigned i = 0; i < PIPELINE_CUDA_GROUPS; i++)
    if (device->sent[i] != nullptr) cudaEventDestroy(device->sent[i]);
  void *pinned[] = {device->staging, device->landing, device->host_results};
  for (void *memory : pinned)
    if (memory != nullptr) cudaFreeHost(memory);
  if (device->stream != nullptr) cudaStreamDestroy(device->stream);
  free(device);
}

static int open_memory(PipelineCudaDevice *device)
{
  const char *what = "reserve memory";
  void *staging = nullptr, *landing = nullptr, *results = nullptr;
  int failed = pipeline_cuda_check(device, cudaMallocHost(&staging, STAGING_BYTES), what);
  device->staging = static_cast<unsigned char *>(staging);
  failed = failed || pipeline_cuda_check(device, cudaMallocHost(&landing, LANDING_BYTES), what);
  device->landing = static_cast<unsigned char *>(landing);
  failed =
      failed || pipeline_cuda_check(device, cudaMallocHost(&results, PIPELINE_CUDA_SLOTS * 2 * sizeof(double)), what);
  device->host_results = static_cast<double *>(results);
  if (failed) return 1;
  device->scratch = pipeline_cuda_allocate(device, PIPELINE_CUDA_SCRATCH);
  device->blas_workspace = pipeline_cuda_allocate(device, BLAS_WORKSPACE_BYTES);
  device->results = static_cast<double *>(pipeline_cuda_allocate(device, PIPELINE_CUDA_SLOTS * 2 * sizeof(double)));
  device->step = static_cast<PipelineCudaStep *>(pipeline_cuda_allocate(device, sizeof(PipelineCudaStep)));
  device->scaling = static_cast<double *>(pipeline_cuda_allocate(device, 2 * sizeof(double)));
  return device->scratch == nullptr || device->blas_workspace == nullptr || device->results == nullptr ||
         device->step == nullptr || device->scaling == nullptr || clear(device, device->scaling, 2 * sizeof(double)) ||
         clear(device, device->step, sizeof(PipelineCudaStep)) ||
         clear(device, device->results, PIPELINE_CUDA_SLOTS * 2 * sizeof(double));
}

/* One stream and one workspace: the same bits each time. The default mode has the accuracy of float32: no TF32. */
static int open_libraries(PipelineCudaDevice *device)
{
  const cublasMath_t math =
      static_cast<cublasMath_t>(CUBLAS_DEFAULT_MATH | CUBLAS_MATH_DISALLOW_REDUCED_PRECISION_REDUCTION);
  if (pipeline_cuda_check(device, cudaStreamCreateWithFlags(&device->stream, cudaStreamNonBlocking), "make a stream"))
    return 1;
  for (unsigned i = 0; i < PIPELINE_CUDA_GROUPS; i++)
    if (pipeline_cuda_check(device, cudaEventCreateWithFlags(&device->sent[i], cudaEventDisableTiming),
                            "make an event"))
      return 1;
  if (open_memory(device)) return 1;
  return pipeline_cuda_check_blas(device, cublasCreate(&device->cublas), "start cuBLAS") ||
         pipeline_cuda_check_blas(device, cublasSetStream(device->cublas, device->stream), "start cuBLAS") ||
         pipeline_cuda_check_blas(device,
                                  cublasSetWorkspace(device->cublas, device->blas_workspace, BLAS_WORKSPACE_BYTES),
                                  "start cuBLAS") ||
         pipeline_cuda_check_blas(device, cublasSetMathMode(device->cublas, math), "start cuBLAS") ||
         pipeline_cuda_check_dnn(device, cudnnCreate(&device->cudnn), "start cuDNN") ||
         pipeline_cuda_check_dnn(device, cudnnSetStream(device->cudnn, device->stream), "start cuDNN");
}

static int count_devices(void)
{
  int count = 0;
  if (cudaGetDeviceCount(&count) == cudaSuccess) return count;
  cudaGetLastError();
  return 0;
}

static int get_bus_id(int number, char *text, size_t bytes)
{
  if (cudaDeviceGetPCIBusId(text, (int)bytes, number) == cudaSuccess) return 0;
  cudaGetLastError();
  return 1;
}

static bool find_device(int number, char *message, size_t bytes)
{
  int driver = 0, count = 0;
  cudaError_t error = cudaDriverGetVersion(&driver);
  if (error != cudaSuccess || driver == 0) {
    snprintf(message, bytes, "no CUDA device: there is no NVIDIA driver");
    return false;
  }
  if (driver < OLDEST_DRIVER) {
    snprintf(message, bytes, "driver too old: it knows CUDA %d.%d, and %d.%d is needed", driver / 1000,
             driver % 1000 / 10, OLDEST_DRIVER / 1000, OLDEST_DRIVER % 1000 / 10);
    return false;
  }
  error = cudaGetDeviceCount(&count);
  if (error != cudaSuccess) cudaGetLastError();
  if (error == cudaErrorInsufficientDriver) {
    snprintf(message, bytes, "driver too old: it does not serve CUDA %d.%d: update it", OLDEST_DRIVER / 1000,
             OLDEST_DRIVER % 1000 / 10);
    return false;
  }
  if (error != cudaSuccess || count == 0) {
    snprintf(message, bytes, "no CUDA device%s%s", error != cudaSuccess ? ": " : "",
             error != cudaSuccess ? cudaGetErrorName(error) : "");
    return false;
  }
  if (number >= 0 && number < count) return true;
  snprintf(message, bytes, "no CUDA device %d: there are %d", number, count);
  return false;
}

static PipelineCudaDevice *open_device(int number, char *message, size_t bytes)
{
  cudaDeviceProp properties;
  int runtime = 0, driver = 0;
  if (!find_device(number, message, bytes)) return nullptr;
  PipelineCudaDevice *device = static_cast<PipelineCudaDevice *>(calloc(1, sizeof *device));
  if (device == nullptr) return nullptr;
  device->number = number;
  if (pipeline_cuda_check(device, cudaSetDevice(number), "choose the device") ||
      pipeline_cuda_check(device, cudaGetDeviceProperties(&properties, number), "look at the device") ||
      pipeline_cuda_check(device, cudaRuntimeGetVersion(&runtime), "look at the device") ||
      pipeline_cuda_check(device, cudaDriverGetVersion(&driver), "look at the device") || open_libraries(device)) {
    snprintf(message, bytes, "%s", device->message);
    close_device(device);
    return nullptr;
  }
  device->multiprocessors = properties.multiProcessorCount;
  device->major = properties.major;
  device->own_bytes = device->used_bytes;
  snprintf(device->description, sizeof device->description, "%s, sm_%d%d, CUDA %d.%d, cuDNN %zu", properties.name,
           properties.major, properties.minor, runtime / 1000, runtime % 1000 / 10, cudnnGetVersion());
  return device;
}

static const char *get_message(const PipelineCudaDevice *device)
{
  return device->message;
}

static const char *get_description(const PipelineCudaDevice *device)
{
  return device->description;
}

/* --- the table -------------------------------------------------------------------------------------------------------
 */

static const PipelineCudaTable table = {PIPELINE_CUDA_ABI,
                                        sizeof(PipelineCudaTable),
                                        count_devices,
                                        get_bus_id,
                                        open_device,
                                        close_device,
                                        get_message,
                                        get_description,
                                        pipeline_cuda_allocate,
                                        pipeline_cuda_release,
                                        copy_in,
                                        copy_out,
                                        copy,
                                        clear,
                                        finish,
                                        pipeline_cuda_memory_info,
                                        pipeline_cuda_memory_mark,
                                        pipeline_cuda_memory_limit,
                                        pipeline_cuda_memory_trim,
                                        pipeline_cuda_memory_round,
                                        pipeline_cuda_lacks_memory,
                                        pipeline_cuda_unary,
                                        pipeline_cuda_unary_backward,
                                        pipeline_cuda_binary,
                                        pipeline_cuda_binary_backward,
                                        pipeline_cuda_choose,
                                        pipeline_cuda_clip,
                                        pipeline_cuda_move,
                                        pipeline_cuda_fill,
                                        pipeline_cuda_add,
                                        pipeline_cuda_multiply_add,
                                        pipeline_cuda_sum,
                                        pipeline_cuda_softmax,
                                        pipeline_cuda_softmax_backward,
                                        pipeline_cuda_extreme,
                                        pipeline_cuda_extreme_backward,
                                        pipeline_cuda_gemm,
                                        pipeline_cuda_convolution_plan,
                                        pipeline_cuda_convolution_bytes,
                                        pipeline_cuda_convolution_free,
                                        pipeline_cuda_convolution_forward,
                                        pipeline_cuda_convolution_backward,
                                        pipeline_cuda_max_pool,
                                        pipeline_cuda_max_pool_backward,
                                        pipeline_cuda_average_pool,
                                        pipeline_cuda_average_pool_backward,
                                        pipeline_cuda_batch_norm,
                                        pipeline_cuda_batch_norm_backward,
                                        pipeline_cuda_layer_norm,
                                        pipeline_cuda_layer_norm_backward,
                                        pipeline_cuda_group_norm,
                                        pipeline_cuda_group_norm_backward,
                                        pipeline_cuda_gather,
                                        pipeline_cuda_gather_backward,
                                        pipeline_cuda_pick,
                                        pipeline_cuda_lstm,
                                        pipeline_cuda_lstm_backward,
                                        pipeline_cuda_gru_gates,
                                        pipeline_cuda_gru_state,
                                        pipeline_cuda_gru_backward_state,
                                        pipeline_cuda_gru_backward_gates,
                                        step_begin,
                                        pipeline_cuda_loss,
                                        scale_set,
                                        pipeline_cuda_update,
                                        results_send,
                                        results_get,
                                        pipeline_cuda_ascend,
                                        get_changes,
                                        record_begin,
                                        record_end,
                                        replay,
                                        recording_free};

const PipelineCudaTable *pipeline_cuda_get_table(void)
{
  return &table;
}
