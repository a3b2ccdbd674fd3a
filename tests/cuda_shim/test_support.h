/* What the tests of the shim share: arrays on the device, and faults looked at from outside. */
#pragma once

#include "tests/cuda_shim/include/cuda_shim_launch.h"

#include <check.h>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <sys/wait.h>
#include <unistd.h>
#include <vector>

#define OK(call) ck_assert_msg((call) == cudaSuccess, "%s: %s", #call, cudaGetErrorName(cudaPeekAtLastError()))

/* An array in device memory; freed with it. */
template <class T> class Device
{
  T *data_ = nullptr;
  size_t size_;

public:
  explicit Device(size_t n) : size_(n)
  {
    OK(cudaMalloc(&data_, n * sizeof(T)));
  }
  explicit Device(const std::vector<T> &values) : Device(values.size())
  {
    OK(cudaMemcpy(data_, values.data(), size_ * sizeof(T), cudaMemcpyHostToDevice));
  }
  ~Device()
  {
    cudaFree(data_);
  }
  Device(const Device &) = delete;
  Device &operator=(const Device &) = delete;
  T *get() const
  {
    return data_;
  }
  std::vector<T> read() const
  {
    std::vector<T> values(size_);
    OK(cudaDeviceSynchronize());
    OK(cudaMemcpy(values.data(), data_, size_ * sizeof(T), cudaMemcpyDeviceToHost));
    return values;
  }
};

/* Numbers in (-1, 1) that are the same in every run. */
static inline std::vector<float> numbers(size_t n, unsigned seed)
{
  std::vector<float> values(n);
  uint32_t state = seed * 2654435761u + 1;
  for (float &value : values) {
    state = state * 1664525u + 1013904223u;
    value = static_cast<float>(state >> 8) / 8388608.0f - 1.0f;
  }
  return values;
}

#if defined(__SANITIZE_ADDRESS__)
constexpr bool address_sanitizer = true;
#elif defined(__has_feature)
constexpr bool address_sanitizer = __has_feature(address_sanitizer);
#else
constexpr bool address_sanitizer = false;
#endif

/* Runs the function in a child and returns its standard error; `signal`: what ended it, 0: nothing did. */
static inline std::string child(void (*function)(), int *signal)
{
  int pipe_ends[2];
  ck_assert_int_eq(pipe(pipe_ends), 0);
  pid_t pid = fork();
  ck_assert_int_ge(pid, 0);
  if (pid == 0) {
    dup2(pipe_ends[1], STDERR_FILENO);
    close(pipe_ends[0]);
    function();
    _exit(0);
  }
  close(pipe_ends[1]);
  std::string text;
  char part[4096];
  for (ssize_t n; (n = read(pipe_ends[0], part, sizeof part)) > 0;) text.append(part, static_cast<size_t>(n));
  close(pipe_ends[0]);
  int status = 0;
  ck_assert_int_eq(waitpid(pid, &status, 0), pid);
  *signal = WIFSIGNALED(status) ? WTERMSIG(status) : 0;
  return text;
}

static inline int run_suite(Suite *suite)
{
  SRunner *runner = srunner_create(suite);
  srunner_run_all(runner, CK_NORMAL);
  int failed = srunner_ntests_failed(runner);
  srunner_free(runner);
  return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

/* Runs the tests of one file; returns the exit status. */
static inline int run_tests(const char *name, const std::vector<const TTest *> &tests)
{
  Suite *suite = suite_create(name);
  TCase *tcase = tcase_create(name);
  tcase_set_timeout(tcase, 120);
  for (const TTest *test : tests) tcase_add_test(tcase, test);
  suite_add_tcase(suite, tcase);
  return run_suite(suite);
}
