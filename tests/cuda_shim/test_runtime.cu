/* Streams, events, graphs, copies and errors of the runtime API. */
#include "tests/cuda_shim/test_support.h"

#include <cmath>

static __global__ void add(float *data, float value)
{
  data[threadIdx.x] += value;
}

static __global__ void assign(float *to, const float *from)
{
  to[threadIdx.x] = from[threadIdx.x];
}

static float *pinned_floats(size_t n)
{
  float *data = nullptr;
  OK(cudaMallocHost(&data, n * sizeof *data));
  return data;
}

START_TEST(test_results_are_there_after_waiting)
{
  cudaStream_t stream = nullptr;
  OK(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking));
  float *in = pinned_floats(32), *out = pinned_floats(32);
  Device<float> data(32);
  for (int i = 0; i < 32; i++) in[i] = static_cast<float>(i);
  OK(cudaMemcpyAsync(data.get(), in, 128, cudaMemcpyHostToDevice, stream));
  LAUNCH(add, 1, 32, 0, stream, data.get(), 1.0f);
  OK(cudaMemcpyAsync(out, data.get(), 128, cudaMemcpyDeviceToHost, stream));
  ck_assert_msg(std::isnan(out[3]), "the result is there before anything waited");
  OK(cudaStreamSynchronize(stream));
  ck_assert_float_eq(out[3], 4);
  OK(cudaFreeHost(in));
  OK(cudaFreeHost(out));
  OK(cudaStreamDestroy(stream));
}
END_TEST

/* Pinned memory is read when the copy runs, other memory at the call. */
START_TEST(test_when_the_host_is_read)
{
  cudaStream_t stream = nullptr;
  OK(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking));
  float *pinned = pinned_floats(1), pageable = 1;
  *pinned = 1;
  Device<float> one(1), two(1);
  OK(cudaMemcpyAsync(one.get(), pinned, 4, cudaMemcpyHostToDevice, stream));
  OK(cudaMemcpyAsync(two.get(), &pageable, 4, cudaMemcpyHostToDevice, stream));
  *pinned = pageable = 2;
  ck_assert_float_eq(one.read()[0], 2);
  ck_assert_float_eq(two.read()[0], 1);
  OK(cudaFreeHost(pinned));
  OK(cudaStreamDestroy(stream));
}
END_TEST

START_TEST(test_streams_wait_for_events)
{
  cudaStream_t first = nullptr, second = nullptr;
  cudaEvent_t event = nullptr;
  OK(cudaStreamCreateWithFlags(&first, cudaStreamNonBlocking));
  OK(cudaStreamCreateWithFlags(&second, cudaStreamNonBlocking));
  OK(cudaEventCreateWithFlags(&event, cudaEventDisableTiming));
  Device<float> data(std::vector<float>(32, 1)), copied(32), early(std::vector<float>(32, 0));
  OK(cudaDeviceSynchronize());
  LAUNCH(add, 1, 32, 0, first, data.get(), 1.0f);
  OK(cudaEventRecord(event, first));
  LAUNCH(assign, 1, 32, 0, second, early.get(), data.get()); /* nothing orders it */
  OK(cudaStreamWaitEvent(second, event));
  LAUNCH(assign, 1, 32, 0, second, copied.get(), data.get());
  ck_assert_int_eq(cudaEventQuery(event), cudaErrorNotReady);
  ck_assert_int_eq(cudaEventQuery(event), cudaSuccess);
  OK(cudaStreamSynchronize(second));
  ck_assert_float_eq(copied.read()[0], 2);
  OK(cudaEventDestroy(event));
  OK(cudaStreamDestroy(first));
  OK(cudaStreamDestroy(second));
}
END_TEST

START_TEST(test_missing_wait_between_streams)
{
  cudaStream_t first = nullptr, second = nullptr;
  OK(cudaStreamCreateWithFlags(&first, cudaStreamNonBlocking));
  OK(cudaStreamCreateWithFlags(&second, cudaStreamNonBlocking));
  Device<float> data(std::vector<float>(32, 1)), copied(32);
  OK(cudaDeviceSynchronize());
  LAUNCH(add, 1, 32, 0, first, data.get(), 1.0f);
  LAUNCH(assign, 1, 32, 0, second, copied.get(), data.get());
  OK(cudaStreamSynchronize(second));
  ck_assert_float_eq(copied.read()[0], 1); /* not 2: nobody waited for the first stream */
  OK(cudaStreamDestroy(first));
  OK(cudaStreamDestroy(second));
}
END_TEST

START_TEST(test_legacy_stream_waits_for_blocking_ones)
{
  cudaStream_t blocking = nullptr;
  OK(cudaStreamCreate(&blocking));
  Device<float> data(std::vector<float>(32, 1)), copied(32);
  LAUNCH(add, 1, 32, 0, blocking, data.get(), 1.0f);
  LAUNCH(assign, 1, 32, 0, nullptr, copied.get(), data.get());
  LAUNCH(add, 1, 32, 0, blocking, data.get(), 1.0f);
  OK(cudaStreamSynchronize(blocking));
  ck_assert_float_eq(copied.read()[5], 2);
  ck_assert_float_eq(data.read()[5], 3);
  OK(cudaStreamDestroy(blocking));
}
END_TEST

START_TEST(test_events_have_times)
{
  cudaEvent_t start = nullptr, end = nullptr, untimed = nullptr;
  float milliseconds = -1;
  OK(cudaEventCreate(&start));
  OK(cudaEventCreate(&end));
  OK(cudaEventCreateWithFlags(&untimed, cudaEventDisableTiming));
  ck_assert_int_eq(cudaEventElapsedTime(&milliseconds, start, end), cudaErrorInvalidResourceHandle);
  OK(cudaEventRecord(start, nullptr));
  OK(cudaEventRecord(end, nullptr));
  OK(cudaEventRecord(untimed, nullptr));
  ck_assert_int_eq(cudaEventElapsedTime(&milliseconds, start, end), cudaErrorNotReady);
  OK(cudaEventSynchronize(end));
  OK(cudaEventElapsedTime(&milliseconds, start, end));
  ck_assert_float_ge(milliseconds, 0);
  OK(cudaEventSynchronize(untimed));
  ck_assert_int_eq(cudaEventElapsedTime(&milliseconds, start, untimed), cudaErrorInvalidResourceHandle);
  for (cudaEvent_t event : {start, end, untimed}) OK(cudaEventDestroy(event));
}
END_TEST

START_TEST(test_graph_runs_again)
{
  cudaStream_t stream = nullptr;
  cudaGraph_t graph = nullptr;
  cudaGraphExec_t executable = nullptr;
  size_t nodes = 0;
  OK(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking));
  Device<float> data(std::vector<float>(32, 0)), copied(std::vector<float>(32, 0));
  OK(cudaDeviceSynchronize());
  OK(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal));
  LAUNCH(add, 1, 32, 0, stream, data.get(), 1.0f);
  OK(cudaMemcpyAsync(copied.get(), data.get(), 128, cudaMemcpyDeviceToDevice, stream));
  OK(cudaStreamEndCapture(stream, &graph));
  OK(cudaGraphGetNodes(graph, nullptr, &nodes));
  ck_assert_uint_eq(nodes, 2);
  ck_assert_float_eq(data.read()[0], 0); /* a capture runs nothing */
  OK(cudaGraphInstantiate(&executable, graph, 0));
  OK(cudaGraphDestroy(graph));
  for (int i = 0; i < 3; i++) OK(cudaGraphLaunch(executable, stream));
  OK(cudaStreamSynchronize(stream));
  ck_assert_float_eq(data.read()[7], 3);
  ck_assert_float_eq(copied.read()[7], 3);
  OK(cudaGraphExecDestroy(executable));
  OK(cudaStreamDestroy(stream));
}
END_TEST

START_TEST(test_what_a_capture_forbids)
{
  cudaStream_t stream = nullptr, other = nullptr;
  cudaGraph_t graph = nullptr;
  cudaEvent_t event = nullptr;
  void *memory = nullptr;
  OK(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking));
  OK(cudaStreamCreateWithFlags(&other, cudaStreamNonBlocking));
  OK(cudaEventCreateWithFlags(&event, cudaEventDisableTiming));
  OK(cudaStreamBeginCapture(stream, cudaStreamCaptureModeGlobal));
  ck_assert_int_eq(cudaMalloc(&memory, 4), cudaErrorStreamCaptureUnsupported);
  ck_assert_int_eq(cudaStreamSynchronize(stream), cudaErrorStreamCaptureUnsupported);
  ck_assert_int_eq(cudaStreamEndCapture(stream, &graph), cudaErrorStreamCaptureInvalidated);
  ck_assert_ptr_null(graph);
  Device<float> data(std::vector<float>(32, 0));
  OK(cudaStreamBeginCapture(stream, cudaStreamCaptureModeGlobal)); /* a fork that never joins */
  OK(cudaEventRecord(event, stream));
  OK(cudaStreamWaitEvent(other, event));
  LAUNCH(add, 1, 32, 0, other, data.get(), 1.0f);
  ck_assert_int_eq(cudaStreamEndCapture(stream, &graph), cudaErrorStreamCaptureUnjoined);
  OK(cudaEventDestroy(event));
  OK(cudaStreamDestroy(stream));
  OK(cudaStreamDestroy(other));
}
END_TEST

START_TEST(test_copies_of_rows)
{
  std::vector<float> values = numbers(12, 1), result(6);
  Device<float> data(values);
  OK(cudaMemcpy2D(result.data(), 8, data.get() + 1, 16, 8, 3, cudaMemcpyDeviceToHost));
  for (size_t r = 0; r < 3; r++)
    for (size_t c = 0; c < 2; c++) ck_assert_float_eq(result[r * 2 + c], values[r * 4 + 1 + c]);
  ck_assert_int_eq(cudaMemcpy2D(result.data(), 4, data.get(), 16, 8, 3, cudaMemcpyDeviceToHost),
                   cudaErrorInvalidPitchValue);
}
END_TEST

START_TEST(test_memory_is_counted)
{
  setenv("CUDA_SHIM_MEMORY", "1", 1);
  size_t before = 0, after = 0, total = 0;
  void *memory = nullptr, *more = nullptr;
  OK(cudaMemGetInfo(&before, &total));
  ck_assert_uint_eq(total, 1 << 20);
  OK(cudaMalloc(&memory, 1 << 19));
  OK(cudaMemGetInfo(&after, &total));
  ck_assert_uint_eq(before - after, 1 << 19);
  ck_assert_int_eq(cudaMalloc(&more, (1 << 19) + 1), cudaErrorMemoryAllocation);
  ck_assert_str_eq(cudaGetErrorName(cudaGetLastError()), "cudaErrorMemoryAllocation");
  ck_assert_int_eq(cudaGetLastError(), cudaSuccess);
  OK(cudaFree(memory));
  for (int i = 0; i < 100; i++) { /* freed addresses come back */
    OK(cudaMalloc(&memory, 1 << 20));
    OK(cudaFree(memory));
  }
  struct cudaPointerAttributes attributes;
  OK(cudaMalloc(&memory, 16));
  OK(cudaPointerGetAttributes(&attributes, memory));
  ck_assert_int_eq(attributes.type, cudaMemoryTypeDevice);
  OK(cudaPointerGetAttributes(&attributes, &before));
  ck_assert_int_eq(attributes.type, cudaMemoryTypeUnregistered);
  OK(cudaFree(memory));
}
END_TEST

START_TEST(test_no_device)
{
  int count = -1;
  void *memory = nullptr;
  setenv("CUDA_SHIM_DEVICES", "0", 1);
  ck_assert_int_eq(cudaGetDeviceCount(&count), cudaErrorNoDevice);
  ck_assert_int_eq(count, 0);
  ck_assert_int_eq(cudaMalloc(&memory, 4), cudaErrorNoDevice);
}
END_TEST

START_TEST(test_old_driver)
{
  int count = -1, version = 0;
  setenv("CUDA_SHIM_DRIVER", "12040", 1);
  ck_assert_int_eq(cudaGetDeviceCount(&count), cudaErrorInsufficientDriver);
  OK(cudaDriverGetVersion(&version));
  ck_assert_int_eq(version, 12040);
}
END_TEST

START_TEST(test_properties)
{
  setenv("CUDA_SHIM_COMPUTE", "75", 1);
  struct cudaDeviceProp properties;
  int value = 0;
  OK(cudaGetDeviceProperties(&properties, 0));
  ck_assert_int_eq(properties.major * 10 + properties.minor, 75);
  ck_assert_uint_eq(properties.sharedMemPerBlockOptin, 64 << 10);
  OK(cudaDeviceGetAttribute(&value, cudaDevAttrMaxThreadsPerBlock, 0));
  ck_assert_int_eq(value, 1024);
  ck_assert_int_eq(cudaSetDevice(1), cudaErrorInvalidDevice);
}
END_TEST

START_TEST(test_injected_errors)
{
  setenv("CUDA_SHIM_FAIL", "cudaMalloc:2:2", 1);
  void *one = nullptr, *two = nullptr, *three = nullptr;
  OK(cudaMalloc(&one, 4));
  ck_assert_int_eq(cudaMalloc(&two, 4), cudaErrorMemoryAllocation);
  OK(cudaMalloc(&three, 4));
}
END_TEST

int main()
{
  return run_tests("cuda_shim_runtime",
                   {test_results_are_there_after_waiting, test_when_the_host_is_read, test_streams_wait_for_events,
                    test_missing_wait_between_streams, test_legacy_stream_waits_for_blocking_ones,
                    test_events_have_times, test_graph_runs_again, test_what_a_capture_forbids, test_copies_of_rows,
                    test_memory_is_counted, test_no_device, test_old_driver, test_properties, test_injected_errors});
}
