// Stacks, and going from one to another.
#pragma once

#include <cstddef>

#if defined(__SANITIZE_ADDRESS__)
#define STRIATE_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define STRIATE_ASAN 1
#endif
#endif

// ucontext asks the kernel for the signal mask at every switch: 5 million a second instead of 30.
#if !defined(__x86_64__) || defined(STRIATE_UCONTEXT)
#include <ucontext.h>
#define STRIATE_UCONTEXT 1
#endif

namespace striate::cuda_host {

#ifdef STRIATE_ASAN
constexpr std::size_t kStackBytes = 256 << 10;  // redzones around every array
#else
constexpr std::size_t kStackBytes = 64 << 10;
#endif

struct Fibre {
  void* stack_pointer = nullptr;  // where it was left
  char* stack = nullptr;          // the lowest byte
  std::size_t bytes = 0;
  void* fake_stack = nullptr;  // AddressSanitizer's
#ifdef STRIATE_UCONTEXT
  ucontext_t context;
#endif
};

/// A new stack, under which lies memory that nobody may touch.
Fibre* make_fibre();
/// So that the next switch to it calls `body`, which never returns; what was on it is forgotten.
void prepare(Fibre& fibre, void (*body)());
/// Fills in where the stack of this operating system's thread is.
void adopt_own_stack(Fibre& fibre);
void switch_fibre(Fibre& from, Fibre& to);
/// The first thing that `body` does.
void entered();

/// From now on, a fibre that overflows its stack calls `report`, on the same stack, from its start.
void on_overflow(void (*report)());

}  // namespace striate::cuda_host
