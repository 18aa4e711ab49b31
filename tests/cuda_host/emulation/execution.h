// How a block's threads run and meet: what the builtin functions, <mma.cuh> and <hopper.cuh> are
// built from. A thread is a fibre; it runs until it waits, and then another one does. The functions
// below are for code that a kernel calls.
#pragma once

#include <cstring>
#include <functional>
#include <source_location>
#include <string>
#include <type_traits>

#include "language.h"

// Set at every change of thread. Reading them is all that a kernel may do.
extern uint3 threadIdx, blockIdx;
extern dim3 blockDim, gridDim;
constexpr int warpSize = 32;

namespace striate::cuda_host {

using Where = std::source_location;

/// Which thread, and which block, is run first where several could be. A warp runs until all of
/// its lanes wait for something outside. A kernel without races has the same bits in every order.
enum class Order { forward, reversed, shuffled };
/// For the launches from now on. `seed` is for shuffled: another seed, another order.
void set_order(Order order, uint64_t seed = 0);

/// Ends the launch with cudaErrorLaunchFailure; cudaGetErrorString and fault_message() say what,
/// in which kernel and block, and what every thread of the block was doing.
[[noreturn]] void fault(const std::string& what);
/// Of the last launch that failed, in any thread.
std::string fault_message();

/// Of the running thread in its block: x + blockDim.x * (y + blockDim.y * z).
unsigned thread_rank();
inline unsigned lane() { return thread_rank() % warpSize; }

/// The block's dynamic shared memory. A fault, if it has less than `bytes`.
void* shared_bytes(std::size_t bytes);

// ---- meetings -----------------------------------------------------------------------------------
// Several threads call the same function and wait for each other. When the last one has come, that
// one runs `combine`, once, for all: every thread's operands are then alive on its stack, and may
// be read and written. So a warp's matrix product is one loop over the fragments of 32 lanes.

using Combine = void (*)(unsigned mask, void* const* operands);

/// All threads of the block. Different places in the source do not meet: a fault.
void meet_block(const char* name, Where where);
/// The lanes of `mask`. `name` and `combine` say which function it is; they do not meet in another.
void meet_warp(unsigned mask, const char* name, Combine combine, void* operands, Where where);
/// Four whole warps, of which the first is a multiple of four: 128 operands, `mask` is all ones.
void meet_warpgroup(const char* name, Combine combine, void* operands, Where where);

/// What the lanes brought, by lane; only those of the mask may be asked for.
template <class T>
class Lanes {
 public:
  explicit Lanes(void* const* operands) : operands_(operands) {}
  T& operator[](unsigned lane) const { return *static_cast<T*>(operands_[lane]); }

 private:
  void* const* operands_;
};

/// combine(mask, Lanes<T>), a lambda without captures, over every lane's `mine`.
template <class T, class Lambda>
void warp_collective(const char* name, unsigned mask, T& mine, Lambda,
                     Where where = Where::current()) {
  static_assert(std::is_empty_v<Lambda>, "what the lambda needs comes with the lanes");
  constexpr Combine combine = [](unsigned mask, void* const* operands) {
    Lambda{}(mask, Lanes<T>(operands));
  };
  meet_warp(mask, name, combine, &mine, where);
}

/// The same over the 128 threads of a warpgroup: combine(Lanes<T>).
template <class T, class Lambda>
void warpgroup_collective(const char* name, T& mine, Lambda, Where where = Where::current()) {
  static_assert(std::is_empty_v<Lambda>, "what the lambda needs comes with the lanes");
  constexpr Combine combine = [](unsigned, void* const* operands) { Lambda{}(Lanes<T>(operands)); };
  meet_warpgroup(name, combine, &mine, where);
}

/// In `combine`: 64-aligned memory that those who meet may read until each meets the next time.
void* lend_view(std::size_t bytes);

template <class T>
struct Exchange {
  const T* mine;
  const T* all = nullptr;
};

template <int kLanes, class T>
void gather(unsigned mask, Lanes<Exchange<T>> lanes) {
  static_assert(std::is_trivially_copyable_v<T>);
  const auto named = [mask](int i) { return kLanes > warpSize || (mask >> i & 1) != 0; };
  T* const all = static_cast<T*>(lend_view(kLanes * sizeof(T)));
  std::memset(static_cast<void*>(all), 0xFF, kLanes * sizeof(T));
  for (int i = 0; i < kLanes; ++i) {
    if (!named(i)) continue;
    std::memcpy(static_cast<void*>(&all[i]), lanes[i].mine, sizeof(T));
    lanes[i].all = all;
  }
}

/// A view of all 32 lanes' values (bytes of 0xFF for those outside the mask), good until this
/// thread meets others the next time.
template <class T>
const T* warp_exchange(unsigned mask, const T& mine, Where where = Where::current()) {
  Exchange<T> exchange{&mine};
  const auto combine = [](unsigned mask, Lanes<Exchange<T>> lanes) { gather<32>(mask, lanes); };
  warp_collective("warp_exchange", mask, exchange, combine, where);
  return exchange.all;
}

/// The same for a warpgroup: 128 values.
template <class T>
const T* warpgroup_exchange(const T& mine, Where where = Where::current()) {
  Exchange<T> exchange{&mine};
  const auto combine = [](Lanes<Exchange<T>> lanes) { gather<128>(~0u, lanes); };
  warpgroup_collective("warpgroup_exchange", exchange, combine, where);
  return exchange.all;
}

// ---- work that goes on beside the threads -------------------------------------------------------

/// Asynchronous work of the block: run when all its threads wait or have ended, as late as a
/// program can hope for, so that a kernel which forgets to wait does not find it done. In the order
/// of the calls, shuffled in Order::shuffled.
void when_waiting(std::function<void()> work);

/// Waits until `ready()` holds. It is asked at once, and whenever no thread can run: a kernel may
/// wait for what other threads or when_waiting do (a barrier in memory, say).
void wait_until(const std::function<bool()>& ready, const char* name,
                Where where = Where::current());

/// Asynchronous work of the running thread, as cp.async is: it starts none before a wait.
void async_issue(std::function<void()> work);
/// Closes a group: what was issued since the last one.
void async_commit();
/// Runs all groups but the `pending` last ones.
void async_wait(unsigned pending);

}  // namespace striate::cuda_host
