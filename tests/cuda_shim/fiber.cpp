/* The switch is what the System V ABI asks a callee to keep, pushed on one stack and popped from the other. */
#ifndef CUDA_SHIM_THREADS
#include "tests/cuda_shim/fiber.h"
#include "tests/cuda_shim/shim.h"

#include <pthread.h>
#include <sys/mman.h>
#include <unistd.h>

#if defined(__SANITIZE_ADDRESS__)
#define SHIM_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define SHIM_ASAN 1
#endif
#endif
#ifdef SHIM_ASAN
#include <sanitizer/common_interface_defs.h>
#endif

#if !defined(__x86_64__)
#error "fibers are written for x86-64; CUDA_SHIM_THREADS works everywhere"
#endif

extern "C" void cuda_shim_switch_stacks(void **save, void *load);
__asm__(".text\n"
        ".type cuda_shim_switch_stacks, @function\n"
        "cuda_shim_switch_stacks:\n"
        "  pushq %rbp\n  pushq %rbx\n  pushq %r12\n  pushq %r13\n  pushq %r14\n  pushq %r15\n"
        "  movq %rsp, (%rdi)\n"
        "  movq %rsi, %rsp\n"
        "  popq %r15\n  popq %r14\n  popq %r13\n  popq %r12\n  popq %rbx\n  popq %rbp\n"
        "  ret\n"
        ".size cuda_shim_switch_stacks, . - cuda_shim_switch_stacks\n");

namespace cuda_shim
{
constexpr size_t STACK = size_t{256} << 10;

Fiber *fiber_new(void (*entry)())
{
  size_t page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
  void *mapped =
      mmap(nullptr, STACK + page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (mapped == MAP_FAILED || mprotect(mapped, page, PROT_NONE) != 0) fault("no memory for the stack of a thread");
  auto *fiber = new Fiber;
  fiber->stack = static_cast<unsigned char *>(mapped) + page;
  fiber->stack_bytes = STACK;
  auto **top = reinterpret_cast<void **>(fiber->stack + STACK);
  *--top = nullptr; /* at the entry the stack is 8 off a multiple of 16, as after a call */
  *--top = reinterpret_cast<void *>(entry);
  for (int i = 0; i < 6; i++) *--top = nullptr;
  fiber->stack_pointer = top;
  return fiber;
}

void fiber_switch(Fiber *from, Fiber *to)
{
#ifdef SHIM_ASAN
  if (from->stack == nullptr) { /* the thread's own stack */
    pthread_attr_t attributes;
    void *stack = nullptr;
    pthread_getattr_np(pthread_self(), &attributes);
    pthread_attr_getstack(&attributes, &stack, &from->stack_bytes);
    pthread_attr_destroy(&attributes);
    from->stack = static_cast<unsigned char *>(stack);
  }
  __sanitizer_start_switch_fiber(&from->fake_stack, to->stack, to->stack_bytes);
#endif
  cuda_shim_switch_stacks(&from->stack_pointer, to->stack_pointer);
#ifdef SHIM_ASAN
  __sanitizer_finish_switch_fiber(from->fake_stack, nullptr, nullptr);
#endif
}

void fiber_entered(Fiber *)
{
#ifdef SHIM_ASAN
  __sanitizer_finish_switch_fiber(nullptr, nullptr, nullptr);
#endif
}
} // namespace cuda_shim
#endif
