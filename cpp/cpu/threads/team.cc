// A team of threads whose caller waits for chunks, not for threads.
//
// The workers live as long as the process. A region is three plain fields and two counters: `left`,
// the chunks that nobody has taken, and `unfinished`, those whose run is not over. Who takes one off
// `left` and finds that there was one owns a chunk, and only then looks at the region: it cannot end
// before that chunk is reported. A worker that comes late finds nothing left and has touched
// nothing. So a worker that has no chunk holds nobody up, whatever else runs on its core; OpenMP's
// barrier waits for each of its threads, and a busy neighbour on one core made LeNet's small regions
// up to a hundred times slower.
//
// Whoever waits spins for kPatience, in hope of a region that follows at once, and then sleeps. To
// wake a worker costs its caller some 8 us. To spin longer is worse: a worker that shares its core
// uses up its time slice, and is off when there is work; and a caller that sleeps leaves its core
// to a worker that was pushed off its own.
#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <exception>
#include <mutex>
#include <new>
#include <system_error>
#include <thread>
#include <vector>

#if defined(__linux__) || defined(__APPLE__)
#include <pthread.h>
#endif
#if defined(__linux__)
#include <sys/mman.h>
#endif
#if defined(__SSE2__)
#include <immintrin.h>
#endif

#include "cpu/out_of_memory.h"
#include "cpu/parallel.h"
#include "cpu/threads/threads.h"

namespace striate::cpu {
namespace {

using Clock = std::chrono::steady_clock;
constexpr std::chrono::microseconds kPatience{50};

void pause() {
#if defined(__SSE2__)
  _mm_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

// True as soon as ready() is, false when it was not for kPatience.
template <class Ready>
bool spin(const Ready& ready) {
  const Clock::time_point end = Clock::now() + kPatience;
  do {
    for (int i = 0; i < 32; ++i) {
      if (ready()) return true;
      pause();
    }
  } while (Clock::now() < end);
  return ready();
}

// Pages that the system has to spare as long as this holds them. Of a new thread's first blocks glibc
// takes each from the system, if it has no address space for a heap of the thread's own.
class Aside {
 public:
#if defined(__linux__)
  Aside()
      : pages_(mmap(nullptr, kBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)) {
    if (pages_ == MAP_FAILED) throw std::bad_alloc();
  }
  ~Aside() { give_up(); }
  void give_up() {
    if (pages_ != MAP_FAILED) munmap(pages_, kBytes);
    pages_ = MAP_FAILED;
  }

 private:
  static constexpr std::size_t kBytes = 64 << 10;
  void* pages_;
#else
  void give_up() {}
#endif
};

class Team {
 public:
  bool run(int threads, int64_t chunks, void (*run)(void*, int64_t), void* context);

  /// Ends the workers, unless a region is running; then none can be run again.
  void close() {
    if (region_.try_lock()) end_workers();
  }

 private:
  void work();
  void take_chunks();
  void start_workers(int count);
  void start_worker();
  void end_workers();

  std::mutex region_;  // held by the caller whose region runs
  std::vector<std::thread> workers_;
  int wanted_ = 0;  // workers; the system may have given fewer

  void (*run_)(void*, int64_t) = nullptr;
  void* context_ = nullptr;
  int64_t chunks_ = 0;

  alignas(64) std::atomic<int64_t> left_{0};  // none where not positive
  alignas(64) std::atomic<int64_t> unfinished_{0};

  alignas(64) std::atomic<int> sleeping_workers_{0};
  std::atomic<bool> sleeping_caller_{false}, ends_{false};
  std::mutex sleep_;  // guards error_, and falling asleep against being woken
  std::condition_variable work_, done_;
  std::exception_ptr error_;
};

// Runs chunks until there are none left, and reports them.
void Team::take_chunks() {
  int64_t finished = 0;
  for (int64_t left; (left = left_.fetch_sub(1)) > 0; ++finished) {
    try {
      run_(context_, chunks_ - left);
    } catch (...) {
      finished += std::max<int64_t>(0, left_.exchange(0));  // nobody shall run those
      const std::lock_guard lock(sleep_);
      if (!error_) error_ = std::current_exception();
    }
  }
  if (finished == 0) return;
  if (unfinished_.fetch_sub(finished) == finished && sleeping_caller_) {
    const std::lock_guard lock(sleep_);
    done_.notify_one();
  }
}

void Team::work() {
  const FlushToZero flush;
  inside_chunk = true;
  const auto ready = [this] { return left_.load() > 0 || ends_.load(); };
  while (!ends_) {
    if (!spin(ready)) {
      std::unique_lock lock(sleep_);
      ++sleeping_workers_;
      if (!ready()) work_.wait(lock);  // once: who is woken too late spins for the next region
      --sleeping_workers_;
    }
    if (left_.load() > 0) take_chunks();
  }
}

bool Team::run(int threads, int64_t chunks, void (*run)(void*, int64_t), void* context) {
  const std::unique_lock region(region_, std::try_to_lock);
  if (!region) return false;
  if (threads - 1 != wanted_) start_workers(threads - 1);
  run_ = run;
  context_ = context;
  chunks_ = chunks;
  unfinished_ = chunks;
  left_ = chunks;
  // Sequentially consistent, as a worker's count of itself and its look at `left`: one of the two
  // sees the other.
  if (sleeping_workers_ > 0) {
    sleep_.lock();  // whoever is about to sleep does, and can be woken
    sleep_.unlock();
    if (chunks > 2) {
      work_.notify_all();
    } else {
      work_.notify_one();
    }
  }
  take_chunks();
  const auto over = [this] { return unfinished_.load() == 0; };
  if (!spin(over)) {
    std::unique_lock lock(sleep_);
    sleeping_caller_ = true;
    done_.wait(lock, over);
    sleeping_caller_ = false;
  }
  std::exception_ptr error;
  {
    const std::lock_guard lock(sleep_);
    std::swap(error, error_);
  }
  if (error) std::rethrow_exception(error);
  return true;
}

void Team::start_workers(int count) {
  end_workers();
  wanted_ = count;
  try {
    workers_.reserve(count);
    for (int i = 0; i < count; ++i) start_worker();
  } catch (const std::system_error&) {  // those that there are take all chunks
  } catch (const std::bad_alloc&) {
  }
}

// The new worker makes its room to throw where something was set aside for that, while its starter
// waits: its stack may have been the last that there was.
void Team::start_worker() {
  Aside aside;
  bool ready = false;
  workers_.emplace_back([this, &aside, &ready] {
    {
      const std::lock_guard lock(sleep_);
      aside.give_up();
      make_room_to_throw();
      ready = true;
      done_.notify_one();
    }
    work();
  });
  std::unique_lock lock(sleep_);
  done_.wait(lock, [&ready] { return ready; });
}

void Team::end_workers() {
  {
    const std::lock_guard lock(sleep_);
    ends_ = true;
    work_.notify_all();
  }
  for (std::thread& worker : workers_) worker.join();
  workers_.clear();
  wanted_ = 0;
  ends_ = false;
}

std::atomic<Team*> the_team{nullptr};  // never destroyed: chunks may run while static objects go

#if defined(__linux__) || defined(__APPLE__)
// The child of a fork has none of the workers, and the old team may be locked by a thread that it
// has not, either: it starts a team of its own when it needs one. (Registered when the program
// starts: a fork in the middle of a first call would find it half done.)
[[maybe_unused]] const int watches_forks =
    pthread_atfork(nullptr, nullptr, [] { the_team = nullptr; });
#endif

Team& team() {
  Team* team = the_team.load();
  if (team != nullptr) return *team;
  Team* const fresh = new Team;
  if (the_team.compare_exchange_strong(team, fresh)) return *fresh;
  delete fresh;
  return *team;
}

// The workers end before the code that they run is unloaded.
const struct Closer {
  ~Closer() {
    if (Team* team = the_team.load()) team->close();
  }
} closer;

}  // namespace

std::string threads_name() { return "std::thread team"; }

bool threads_forked_away() { return false; }

bool run_on_threads(int threads, int64_t chunks, void (*run)(void*, int64_t), void* context) {
  return team().run(threads, chunks, run, context);
}

}  // namespace striate::cpu
