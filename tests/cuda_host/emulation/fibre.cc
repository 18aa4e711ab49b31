#include "fibre.h"

#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <ucontext.h>
#include <unistd.h>

#include <cstdint>
#include <cstdlib>
#include <new>

#ifdef STRIATE_ASAN
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif

#ifndef STRIATE_UCONTEXT
// void striate_switch_stack(void** from, void* to): what a function must preserve goes onto the old
// stack and comes from the new one. A jump, not a return: the processor predicts returns by the
// calls it has seen, and these do not match. (The modes of the floating-point unit are nobody's.)
asm(R"(
.text
.p2align 4
.hidden striate_switch_stack
.globl striate_switch_stack
.type striate_switch_stack, @function
striate_switch_stack:
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
  popq %rcx
  jmp *%rcx
.size striate_switch_stack, .-striate_switch_stack
)");
extern "C" void striate_switch_stack(void** from, void* to);
#endif

namespace striate::cuda_host {
namespace {

constexpr std::size_t kGuardBytes = 64 << 10;  // a frame larger than this may step over it

Fibre* running = nullptr;
void (*overflow_report)() = nullptr;
struct sigaction inherited;

// The highest address of a prepared stack. Stacks lie a power of two apart; shifted against each
// other, their busiest lines do not all fall into the same set of the cache.
char* top_of(const Fibre& fibre) {
  const std::size_t shift = (reinterpret_cast<uintptr_t>(fibre.stack) >> 16) % 29 * 128;
  return fibre.stack + fibre.bytes - shift;
}

[[maybe_unused]] void on_segmentation_fault(int signal, siginfo_t* info, void* context) {
  const char* const address = static_cast<char*>(info->si_addr);
  const Fibre* const fibre = running;
  if (fibre != nullptr && fibre->stack != nullptr && address < fibre->stack &&
      address >= fibre->stack - kGuardBytes) {
    // Goes on in the report when the handler returns: the mask of signals is then as it was.
    [[maybe_unused]] auto& machine = static_cast<ucontext_t*>(context)->uc_mcontext;
    [[maybe_unused]] const auto stack =
        reinterpret_cast<uintptr_t>(top_of(*fibre)) & ~uintptr_t{63};
#if defined(__x86_64__)
    machine.gregs[REG_RSP] = static_cast<greg_t>(stack - 8);
    machine.gregs[REG_RIP] = reinterpret_cast<greg_t>(overflow_report);
    return;
#elif defined(__aarch64__)
    machine.sp = stack;
    machine.pc = reinterpret_cast<uintptr_t>(overflow_report);
    return;
#endif
  }
  if (inherited.sa_flags & SA_SIGINFO) return inherited.sa_sigaction(signal, info, context);
  if (inherited.sa_handler != SIG_DFL && inherited.sa_handler != SIG_IGN) {
    return inherited.sa_handler(signal);
  }
  sigaction(signal, &inherited, nullptr);  // and it happens again
}

// Where a handler runs when the stack is what failed; each thread of the system needs its own.
class SignalStack {
 public:
  SignalStack() {
    stack_t stack = {};
    sigaltstack(nullptr, &stack);
    if ((stack.ss_flags & SS_DISABLE) == 0) return;  // somebody's is there
    memory_ = std::malloc(kBytes);
    stack.ss_sp = memory_;
    stack.ss_size = kBytes;
    stack.ss_flags = 0;
    sigaltstack(&stack, nullptr);
  }
  ~SignalStack() {
    if (memory_ == nullptr) return;
    stack_t none = {};
    none.ss_flags = SS_DISABLE;
    sigaltstack(&none, nullptr);
    std::free(memory_);
  }
  SignalStack(const SignalStack&) = delete;
  SignalStack& operator=(const SignalStack&) = delete;

 private:
  static constexpr std::size_t kBytes = 64 << 10;
  void* memory_ = nullptr;
};

}  // namespace

Fibre* make_fibre() {
  const std::size_t bytes = kGuardBytes + kStackBytes;
  void* const memory = mmap(nullptr, bytes, PROT_READ | PROT_WRITE,
                            MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_STACK, -1, 0);
  if (memory == MAP_FAILED || mprotect(memory, kGuardBytes, PROT_NONE) != 0) throw std::bad_alloc();
  Fibre* const fibre = new Fibre;
  fibre->stack = static_cast<char*>(memory) + kGuardBytes;
  fibre->bytes = kStackBytes;
  return fibre;
}

void prepare(Fibre& fibre, void (*body)()) {
#ifdef STRIATE_ASAN
  __asan_unpoison_memory_region(fibre.stack, fibre.bytes);
  fibre.fake_stack = nullptr;
#endif
  char* const top = top_of(fibre);
#ifdef STRIATE_UCONTEXT
  getcontext(&fibre.context);
  fibre.context.uc_stack.ss_sp = fibre.stack;
  fibre.context.uc_stack.ss_size = static_cast<std::size_t>(top - fibre.stack);
  fibre.context.uc_link = nullptr;
  makecontext(&fibre.context, body, 0);
#else
  // As a call of `body` would leave it: the stack pointer is 8 past a multiple of 16.
  void** const slot = reinterpret_cast<void**>(reinterpret_cast<uintptr_t>(top) & ~uintptr_t{63});
  slot[-1] = nullptr;  // the return address
  slot[-2] = reinterpret_cast<void*>(body);
  for (int i = 3; i <= 8; ++i) slot[-i] = nullptr;
  fibre.stack_pointer = slot - 8;
#endif
}

void adopt_own_stack([[maybe_unused]] Fibre& fibre) {
#ifdef STRIATE_ASAN
  thread_local void* stack = nullptr;
  thread_local std::size_t bytes = 0;
  if (stack == nullptr) {
    pthread_attr_t attributes;
    pthread_getattr_np(pthread_self(), &attributes);
    pthread_attr_getstack(&attributes, &stack, &bytes);
    pthread_attr_destroy(&attributes);
  }
  fibre.stack = static_cast<char*>(stack);
  fibre.bytes = bytes;
#endif
}

void switch_fibre(Fibre& from, Fibre& to) {
#ifdef STRIATE_ASAN
  __sanitizer_start_switch_fiber(&from.fake_stack, to.stack, to.bytes);
#endif
  running = &to;
#ifdef STRIATE_UCONTEXT
  swapcontext(&from.context, &to.context);
#else
  striate_switch_stack(&from.stack_pointer, to.stack_pointer);
#endif
#ifdef STRIATE_ASAN
  __sanitizer_finish_switch_fiber(from.fake_stack, nullptr, nullptr);
#endif
}

void entered() {
#ifdef STRIATE_ASAN
  __sanitizer_finish_switch_fiber(nullptr, nullptr, nullptr);
#endif
}

void on_overflow([[maybe_unused]] void (*report)()) {
#ifndef STRIATE_ASAN  // which has a report of its own
  static const bool installed = [report] {
    overflow_report = report;
    struct sigaction action = {};
    action.sa_sigaction = on_segmentation_fault;
    action.sa_flags = SA_SIGINFO | SA_ONSTACK;
    return sigaction(SIGSEGV, &action, &inherited) == 0;
  }();
  thread_local const SignalStack stack;
  static_cast<void>(installed);
#endif
}

}  // namespace striate::cuda_host
