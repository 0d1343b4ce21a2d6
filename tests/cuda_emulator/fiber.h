// One flow of control with its own stack: what an emulated CUDA thread is suspended on at a
// barrier. A switch is a few instructions on x86-64 and swapcontext elsewhere, announced to the
// sanitizers.
#pragma once

#include <cstddef>

namespace cuda_emulator {

class Fiber {
 public:
  // The first resume() calls entry(argument), which must never return.
  Fiber(void (*entry)(void*), void* argument);
  ~Fiber();  // also of a suspended one: its frames are dropped, not unwound
  Fiber(const Fiber&) = delete;
  Fiber& operator=(const Fiber&) = delete;

  // Runs the fiber until it suspends. Not from within a fiber.
  void resume();
  // Back to resume()'s caller. Only from within this fiber.
  void suspend();

 private:
  struct Context;
  [[noreturn]] static void start(Fiber* fiber);

  void (*entry_)(void*);
  void* argument_;
  std::byte* memory_;  // a guard page, then the stack
  Context* context_;
};

}  // namespace cuda_emulator
