// Threads. Which runtime they come from is threads/'s affair, and known nowhere else.
//
// Work is split by the problem: `grain` is chosen by the op from its shapes, a chunk is always
// [i * grain, (i + 1) * grain), and which thread runs a chunk cannot change its result. That is why
// the same seed gives the same bits for any number of threads.
#pragma once

#include <cstdint>
#include <string>

namespace striate::cpu {

/// Threads that the next parallel_for may use. By default OMP_NUM_THREADS, else the cores this
/// process may really use: its affinity mask, cut by its cgroup's CPU quota.
int num_threads();

constexpr int kMostThreads = 1024;

/// Sets it for the whole process; throws std::invalid_argument unless 1 <= threads <= kMostThreads.
void set_num_threads(int threads);

/// Why num_threads() is what it is, for `striate info`.
std::string num_threads_reason();

/// "std::thread team", "OpenMP 201511" or "none (serial)".
std::string threading_runtime();

/// Turns denormals into zeros while it lives: a vanishing activation must not cost 100 cycles per
/// multiplication. The caller's floating-point mode comes back when it goes.
class FlushToZero {
 public:
  FlushToZero();
  ~FlushToZero();
  FlushToZero(const FlushToZero&) = delete;
  FlushToZero& operator=(const FlushToZero&) = delete;

 private:
  uint64_t saved_;
};

/// Calls run(context, i) for every i in [0, chunks), in any order, on up to num_threads() threads.
/// The first exception of a chunk is thrown again here, and then some chunks may not have run.
///
/// Called inside a chunk it runs all of them there, at the cost of a loop: an op may be a piece of
/// a larger region. A single chunk is no region: what it calls may use the threads. While another
/// thread of the program has them, the caller runs its chunks alone.
void run_chunks(int64_t chunks, void (*run)(void* context, int64_t chunk), void* context);

/// While it lives, what this thread calls stays on this thread: for work that is too little for
/// several. The bits do not change.
class Serially {
 public:
  Serially();
  ~Serially();
  Serially(const Serially&) = delete;
  Serially& operator=(const Serially&) = delete;

 private:
  const FlushToZero flush_;
  bool before_;
};

/// Calls body(begin, end) over [0, count) in chunks of `grain` (the last one may be shorter).
template <class Body>
void parallel_for(int64_t count, int64_t grain, const Body& body) {
  struct Context {
    int64_t count, grain;
    const Body* body;
  } context{count, grain, &body};
  run_chunks((count + grain - 1) / grain,
             [](void* p, int64_t chunk) {
               const Context& c = *static_cast<const Context*>(p);
               const int64_t begin = chunk * c.grain;
               (*c.body)(begin, begin + c.grain < c.count ? begin + c.grain : c.count);
             },
             &context);
}

/// A grain for loops that touch `bytes_per_item` bytes and little arithmetic per item: chunks of
/// about 64 KiB, a multiple of 64 items so that whole vectors stay whole.
inline int64_t streaming_grain(int64_t bytes_per_item) {
  const int64_t items = (int64_t{64} << 10) / (bytes_per_item > 0 ? bytes_per_item : 1);
  return items < 64 ? 64 : items / 64 * 64;
}

}  // namespace striate::cpu
