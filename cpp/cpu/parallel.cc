#include "cpu/parallel.h"

#include <algorithm>
#include <atomic>
#include <charconv>
#include <cstdlib>
#include <exception>
#include <sstream>
#include <stdexcept>
#include <string_view>
#include <thread>

#if defined(__linux__)
#include <pthread.h>
#include <sched.h>
#endif
#if defined(__SSE__)
#include <xmmintrin.h>
#endif

#include "cpu/cgroup.h"
#include "cpu/out_of_memory.h"
#include "cpu/threads/threads.h"

namespace striate::cpu {
namespace {

struct ThreadCount {
  int threads;
  std::string reason;
};

int affinity_cores() {
#if defined(__linux__)
  // A fixed cpu_set_t has 1,024 places, and the call fails where the kernel knows of more cores.
  for (int places = CPU_SETSIZE; places <= 1 << 20; places *= 2) {
    cpu_set_t* const set = CPU_ALLOC(places);
    if (set == nullptr) break;
    const std::size_t bytes = CPU_ALLOC_SIZE(places);
    const bool known = sched_getaffinity(0, bytes, set) == 0;
    const int cores = known ? CPU_COUNT_S(bytes, set) : 0;
    CPU_FREE(set);
    if (known) return std::max(1, cores);
  }
#endif
  return std::max(1u, std::thread::hardware_concurrency());
}

// OMP_NUM_THREADS may be a list, one number for each level of nesting: the first counts. 0: no
// number of threads.
int omp_num_threads(std::string_view text) {
  text = text.substr(0, text.find(','));
  const std::size_t first = text.find_first_not_of(" \t");
  if (first == std::string_view::npos) return 0;
  text = text.substr(first, text.find_last_not_of(" \t") - first + 1);
  int threads = 0;
  const auto [stop, error] = std::from_chars(text.data(), text.data() + text.size(), threads);
  if (error != std::errc() || stop != text.data() + text.size() || threads < 1) return 0;
  return std::min(threads, kMostThreads);
}

ThreadCount default_threads() {
  const char* const text = std::getenv("OMP_NUM_THREADS");
  const int wanted = text == nullptr ? 0 : omp_num_threads(text);
  if (wanted > 0) return {wanted, "OMP_NUM_THREADS"};
  const int affinity = affinity_cores(), quota = cgroup_cores();
  std::ostringstream reason;
  reason << affinity << (affinity == 1 ? " core" : " cores") << " in the affinity mask";
  if (quota < affinity) reason << ", cut by the cgroup's CPU quota";
  if (text != nullptr && *text != '\0') {
    reason << " (OMP_NUM_THREADS='" << text << "' is no number of threads)";
  }
  return {std::min({affinity, quota, kMostThreads}), reason.str()};
}

const ThreadCount& default_count() {
  static const ThreadCount count = default_threads();
  return count;
}

#if defined(__linux__)
// A fork waits until no thread is counting, or its child would wait for ever.
[[maybe_unused]] const int watches_forks =
    pthread_atfork([] { default_count(); }, nullptr, nullptr);
#endif

std::atomic<int> chosen_threads{0};  // by set_num_threads; 0: the default

}  // namespace

int num_threads() {
  if (threads_forked_away()) return 1;
  const int chosen = chosen_threads;
  return chosen > 0 ? chosen : default_count().threads;
}

void set_num_threads(int threads) {
  if (threads < 1 || threads > kMostThreads) {
    throw std::invalid_argument("set_num_threads: threads must be between 1 and " +
                                std::to_string(kMostThreads) + ", got " + std::to_string(threads));
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

thread_local constinit bool inside_chunk = false;

void make_room_to_throw() noexcept {  // volatile: or nothing is looked at
  [[maybe_unused]] volatile const int of_libstdcxx = std::uncaught_exceptions();
  [[maybe_unused]] volatile const bool of_this_module = inside_chunk;
}

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
