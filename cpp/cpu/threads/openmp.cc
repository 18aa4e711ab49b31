// OpenMP's threads. A region ends with a barrier, which waits for every thread of the team, also for
// one that found no chunk left because something else ran on its core: see team.cc.
#include <omp.h>

#include <atomic>
#include <exception>
#include <mutex>

#if defined(__linux__)
#include <pthread.h>
#endif

#include "cpu/parallel.h"
#include "cpu/threads/threads.h"

namespace striate::cpu {
namespace {

std::atomic<bool> team_started{false};      // this process has run a parallel region
std::atomic<bool> team_forked_away{false};  // ... and is now a forked child without its threads

// The child of a fork has none of its parent's pool threads, and libgomp waits for them for ever.
// Such a child works serially; a child of a parent that never ran a region is not affected.
#if defined(__linux__)
[[maybe_unused]] const int watches_forks =
    pthread_atfork(nullptr, nullptr, [] { team_forked_away = team_started.load(); });
#endif

}  // namespace

std::string threads_name() { return "OpenMP " + std::to_string(_OPENMP); }

bool threads_forked_away() { return team_forked_away; }

bool run_on_threads(int threads, int64_t chunks, void (*run)(void*, int64_t), void* context) {
  if (team_forked_away) return false;
  team_started = true;
  std::atomic<int64_t> next{0};
  std::exception_ptr error;
  std::mutex error_mutex;
#pragma omp parallel num_threads(threads)
  {
    const FlushToZero flush;
    const bool before = inside_chunk;
    inside_chunk = true;
    try {
      for (int64_t i; (i = next.fetch_add(1, std::memory_order_relaxed)) < chunks;) run(context, i);
    } catch (...) {
      next = chunks;
      const std::lock_guard lock(error_mutex);
      if (!error) error = std::current_exception();
    }
    inside_chunk = before;
  }
  if (error) std::rethrow_exception(error);
  return true;
}

}  // namespace striate::cpu
