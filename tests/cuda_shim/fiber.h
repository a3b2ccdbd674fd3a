/* Fibers: stacks of their own within one thread of the operating system. */
#pragma once

#include <cstddef>

namespace cuda_shim
{
struct Fiber {
  void *stack_pointer = nullptr; /* while it does not run */
  unsigned char *stack = nullptr;
  size_t stack_bytes = 0;
  void *fake_stack = nullptr; /* AddressSanitizer's */
};
/* A new one that begins with `entry` when it is switched to; `entry` never returns. Kept until the program ends. */
Fiber *fiber_new(void (*entry)());
/* Goes from one to the other; returns when something switches back. `from` may be one that stands for the thread. */
void fiber_switch(Fiber *from, Fiber *to);
/* The first thing that an entry does. */
void fiber_entered(Fiber *from);
} // namespace cuda_shim
