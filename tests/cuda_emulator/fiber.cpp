#include "tests/cuda_emulator/fiber.h"

#include <sys/mman.h>
#include <unistd.h>

#include <cstdint>
#include <cstdlib>
#include <new>

#ifdef PROXENT_SANITIZE_ADDRESS
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif
#ifdef PROXENT_SANITIZE_THREAD
#include <sanitizer/tsan_interface.h>
#endif
#ifndef __x86_64__
#include <ucontext.h>
#endif

namespace cuda_emulator {
namespace {
constexpr std::size_t kStackBytes = 256 << 10;  // sanitizers make frames large; untouched pages
                                                // cost nothing
std::size_t guard_bytes() { return static_cast<std::size_t>(sysconf(_SC_PAGESIZE)); }

std::byte* map_stack() {
  void* memory = mmap(nullptr, guard_bytes() + kStackBytes, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) throw std::bad_alloc();
  mprotect(memory, guard_bytes(), PROT_NONE);  // a stack that overflows faults
  return static_cast<std::byte*>(memory);
}
}  // namespace

#ifdef __x86_64__
// Saves the registers that the System V ABI preserves over calls and continues where `to` was
// saved. swapcontext would also set the signal mask, by a system call that takes 100 times as long.
extern "C" void cuda_emulator_switch_stack(void** save, void* to);
extern "C" void cuda_emulator_trampoline();  // calls r12(rbx)
asm(R"(
  .text
  .type cuda_emulator_switch_stack, @function
  .globl cuda_emulator_switch_stack
cuda_emulator_switch_stack:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
  .size cuda_emulator_switch_stack, .-cuda_emulator_switch_stack
  .type cuda_emulator_trampoline, @function
  .globl cuda_emulator_trampoline
cuda_emulator_trampoline:
  movq %rbx, %rdi
  call *%r12
  ud2
  .size cuda_emulator_trampoline, .-cuda_emulator_trampoline
)");
#endif

struct Fiber::Context {
#ifdef __x86_64__
  void* own = nullptr;
  void* caller = nullptr;
#else
  ucontext_t own, caller;
#endif
  // What the sanitizers want to know of the stack that is left or entered.
  void* own_fake_stack = nullptr;
  void* caller_fake_stack = nullptr;
  const void* caller_bottom = nullptr;
  std::size_t caller_bytes = 0;
  void* own_tsan = nullptr;
  void* caller_tsan = nullptr;
};

void Fiber::start(Fiber* fiber) {
#ifdef PROXENT_SANITIZE_ADDRESS
  Context& c = *fiber->context_;
  __sanitizer_finish_switch_fiber(nullptr, &c.caller_bottom, &c.caller_bytes);
#endif
  fiber->entry_(fiber->argument_);
  std::abort();  // an entry that returns has nowhere to go
}

Fiber::Fiber(void (*entry)(void*), void* argument)
    : entry_(entry), argument_(argument), memory_(map_stack()), context_(new Context) {
  std::byte* bottom = memory_ + guard_bytes();
#ifdef __x86_64__
  // The first switch pops six registers and returns into the trampoline below.
  auto* top = reinterpret_cast<std::uintptr_t*>(bottom + kStackBytes);
  *--top = 0;  // keeps the stack aligned as the ABI wants it at a call
  *--top = 0;
  *--top = reinterpret_cast<std::uintptr_t>(&cuda_emulator_trampoline);
  *--top = 0;                                         // rbp
  *--top = reinterpret_cast<std::uintptr_t>(this);    // rbx
  *--top = reinterpret_cast<std::uintptr_t>(&start);  // r12
  for (int i = 0; i < 3; ++i) *--top = 0;             // r13 to r15
  context_->own = top;
#else
  getcontext(&context_->own);
  context_->own.uc_stack.ss_sp = bottom;
  context_->own.uc_stack.ss_size = kStackBytes;
  context_->own.uc_link = nullptr;
  const auto self = reinterpret_cast<std::uintptr_t>(this);  // makecontext passes ints
  void (*trampoline)(unsigned, unsigned) = [](unsigned high, unsigned low) {
    start(reinterpret_cast<Fiber*>(std::uintptr_t{high} << 32 | low));
  };
  makecontext(&context_->own, reinterpret_cast<void (*)()>(trampoline), 2,
              static_cast<unsigned>(self >> 32), static_cast<unsigned>(self));
#endif
#ifdef PROXENT_SANITIZE_THREAD
  context_->own_tsan = __tsan_create_fiber(0);
#endif
}

Fiber::~Fiber() {
#ifdef PROXENT_SANITIZE_ADDRESS
  __asan_unpoison_memory_region(memory_ + guard_bytes(), kStackBytes);
#endif
#ifdef PROXENT_SANITIZE_THREAD
  __tsan_destroy_fiber(context_->own_tsan);
#endif
  munmap(memory_, guard_bytes() + kStackBytes);
  delete context_;
}

void Fiber::resume() {
  Context& c = *context_;
#ifdef PROXENT_SANITIZE_ADDRESS
  __sanitizer_start_switch_fiber(&c.caller_fake_stack, memory_ + guard_bytes(), kStackBytes);
#endif
#ifdef PROXENT_SANITIZE_THREAD
  c.caller_tsan = __tsan_get_current_fiber();
  __tsan_switch_to_fiber(c.own_tsan, 0);
#endif
#ifdef __x86_64__
  cuda_emulator_switch_stack(&c.caller, c.own);
#else
  swapcontext(&c.caller, &c.own);
#endif
#ifdef PROXENT_SANITIZE_ADDRESS
  __sanitizer_finish_switch_fiber(c.caller_fake_stack, nullptr, nullptr);
#endif
}

void Fiber::suspend() {
  Context& c = *context_;
#ifdef PROXENT_SANITIZE_ADDRESS
  __sanitizer_start_switch_fiber(&c.own_fake_stack, c.caller_bottom, c.caller_bytes);
#endif
#ifdef PROXENT_SANITIZE_THREAD
  __tsan_switch_to_fiber(c.caller_tsan, 0);
#endif
#ifdef __x86_64__
  cuda_emulator_switch_stack(&c.own, c.caller);
#else
  swapcontext(&c.own, &c.caller);
#endif
#ifdef PROXENT_SANITIZE_ADDRESS
  __sanitizer_finish_switch_fiber(c.own_fake_stack, &c.caller_bottom, &c.caller_bytes);
#endif
}

}  // namespace cuda_emulator
