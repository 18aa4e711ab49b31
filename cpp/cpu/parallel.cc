#include "cpu/parallel.h"

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <fstream>
#include <sstream>
#include <stdexcept>
#include <thread>

#if defined(__linux__)
#include <sched.h>
#endif
#if defined(__SSE__)
#include <xmmintrin.h>
#endif

#include "cpu/threads/threads.h"

namespace striate::cpu {
namespace {

struct ThreadCount {
  int threads;
  std::string reason;
};

int affinity_cores() {
#if defined(__linux__)
  cpu_set_t set;
  CPU_ZERO(&set);
  if (sched_getaffinity(0, sizeof set, &set) == 0) return std::max(1, CPU_COUNT(&set));
#endif
  return std::max(1u, std::thread::hardware_concurrency());
}

// A container's quota ("max 100000" or "150000 100000" in cgroup v2, two files in v1), rounded up.
int cgroup_cores() {
  long long quota = 0, period = 0;
  std::string word;
  if (std::ifstream v2("/sys/fs/cgroup/cpu.max"); v2 >> word >> period && word != "max") {
    quota = std::atoll(word.c_str());
  } else {
    std::ifstream("/sys/fs/cgroup/cpu/cpu.cfs_quota_us") >> quota;
    std::ifstream("/sys/fs/cgroup/cpu/cpu.cfs_period_us") >> period;
  }
  if (quota <= 0 || period <= 0) return 1 << 20;
  return static_cast<int>(std::max(1LL, (quota + period - 1) / period));
}

ThreadCount default_threads() {
  if (const char* text = std::getenv("OMP_NUM_THREADS")) {
    const int threads = std::atoi(text);
    if (threads >= 1) return {std::min(threads, 1024), "OMP_NUM_THREADS"};
  }
  const int affinity = affinity_cores(), quota = cgroup_cores();
  std::ostringstream reason;
  reason << affinity << (affinity == 1 ? " core" : " cores") << " in the affinity mask";
  if (quota < affinity) reason << ", cut by the cgroup's CPU quota";
  return {std::min(affinity, quota), reason.str()};
}

const ThreadCount& default_count() {
  static const ThreadCount count = default_threads();
  return count;
}

std::atomic<int> chosen_threads{0};  // by set_num_threads; 0: the default

}  // namespace

int num_threads() {
  if (threads_forked_away()) return 1;
  const int chosen = chosen_threads;
  return chosen > 0 ? chosen : default_count().threads;
}

void set_num_threads(int threads) {
  if (threads < 1 || threads > 1024) {
    throw std::invalid_argument("set_num_threads: threads must be between 1 and 1024, got " +
                                std::to_string(threads));
  }
  chosen_threads = threads;
}

std::string num_threads_reason() {
  if (threads_forked_away())
    return "a forked child of a process that had run threads works serially";
  return chosen_threads > 0 ? "set_num_threads" : default_count().reason;
}

std::string threading_runtime() { return threads_name(); }

FlushToZero::FlushToZero() : saved_(0) {
#if defined(__SSE__)
  saved_ = _mm_getcsr();
  _mm_setcsr(static_cast<unsigned>(saved_) | 0x8040);  // FTZ and DAZ
#elif defined(__aarch64__)
  asm volatile("mrs %0, fpcr" : "=r"(saved_));
  asm volatile("msr fpcr, %0" : : "r"(saved_ | (uint64_t{1} << 24)));
#endif
}

FlushToZero::~FlushToZero() {
#if defined(__SSE__)
  _mm_setcsr(static_cast<unsigned>(saved_));
#elif defined(__aarch64__)
  asm volatile("msr fpcr, %0" : : "r"(saved_));
#endif
}

STRIATE_STATIC_TLS thread_local constinit bool inside_chunk = false;

Serially::Serially() : before_(inside_chunk) { inside_chunk = true; }
Serially::~Serially() { inside_chunk = before_; }

void run_chunks(int64_t chunks, void (*run)(void*, int64_t), void* context) {
  if (chunks <= 0) return;
  if (inside_chunk) {
    for (int64_t i = 0; i < chunks; ++i) run(context, i);
    return;
  }
  const FlushToZero flush;
  if (chunks == 1) return run(context, 0);
  const struct Inside {
    Inside() { inside_chunk = true; }
    ~Inside() { inside_chunk = false; }
  } inside;
  const int threads = num_threads();
  if (threads > 1 && run_on_threads(threads, chunks, run, context)) return;
  for (int64_t i = 0; i < chunks; ++i) run(context, i);
}

}  // namespace striate::cpu
