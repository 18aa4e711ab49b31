// Regions of chunks, from the C++ side; test_parallel.py compiles this for each runtime, with and
// without ThreadSanitizer. Prints the first thing that is wrong and returns 1.
#include "cpu/parallel.h"

#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <stdexcept>
#include <thread>
#include <vector>

using namespace striate::cpu;

namespace {

void expect(bool good, const char* what) {
  if (good) return;
  std::printf("%s: wrong\n", what);
  std::fflush(stdout);
  _exit(1);
}

// Every chunk is run once, and what it wrote is seen by the caller.
void check_region(int64_t count, int64_t grain) {
  std::vector<int> runs(count, 0);  // plain: two threads at one element are a race
  parallel_for(count, grain, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) ++runs[i];
  });
  for (int64_t i = 0; i < count; ++i) expect(runs[i] == 1, "every chunk once");
}

void check_nesting() {
  std::atomic<int> inner{0};
  parallel_for(8, 1, [&](int64_t, int64_t) {
    const auto here = std::this_thread::get_id();
    parallel_for(16, 1, [&](int64_t, int64_t) {
      expect(std::this_thread::get_id() == here, "a region inside a chunk stays on its thread");
      ++inner;
    });
  });
  expect(inner == 8 * 16, "inner chunks");
  check_region(100, 1);  // and the mark of being inside is gone
}

void check_exceptions() {
  for (int bad : {0, 7, 63}) {
    bool thrown = false;
    try {
      parallel_for(64, 1, [&](int64_t i, int64_t) {
        if (i >= bad) throw std::runtime_error("chunk");
      });
    } catch (const std::runtime_error& error) {
      thrown = std::strcmp(error.what(), "chunk") == 0;
    }
    expect(thrown, "an exception comes to the caller");
    check_region(50, 1);
  }
}

void check_many_callers() {
  std::vector<std::thread> callers;
  for (int t = 0; t < 4; ++t) {
    callers.emplace_back([] {
      for (int i = 0; i < 200; ++i) check_region(1 + i % 37, 1 + i % 3);
    });
  }
  for (std::thread& caller : callers) caller.join();
}

void check_sleepers() {  // regions so far apart that the workers sleep, and right behind each other
  for (int i = 0; i < 300; ++i) {
    if (i % 10 == 0) std::this_thread::sleep_for(std::chrono::microseconds(300));
    check_region(4, 1);
  }
  parallel_for(2, 1, [](int64_t, int64_t) {  // a caller that sleeps until the worker is done
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  });
}

void check_denormals() {
  std::atomic<int> kept{0};
  parallel_for(64, 1, [&](int64_t, int64_t) {
    volatile float tiny = 1e-39f;
    if (tiny * 0.5f != 0) ++kept;
  });
  expect(kept == 0, "denormals are zeros in a chunk");
  volatile float tiny = 1e-39f;
  expect(tiny * 0.5f != 0, "the caller's mode comes back");
}

void check_fork() {
  const pid_t child = fork();
  if (child == 0) {
    for (int i = 0; i < 10; ++i) check_region(64, 1);
    std::exit(0);  // through the static destructors
  }
  int status = 0;
  waitpid(child, &status, 0);
  expect(WIFEXITED(status) && WEXITSTATUS(status) == 0, "a forked child computes");
}

}  // namespace

int main(int argc, char** argv) {
  for (int threads : {1, 2, 4, 2}) {
    set_num_threads(threads);
    for (int64_t count : {0, 1, 2, 3, 64, 1000}) check_region(count, 1);
    check_region(1000, 64);
    check_nesting();
    check_exceptions();
    check_many_callers();
    check_sleepers();
    check_denormals();
  }
  if (argc > 1 && std::strcmp(argv[1], "fork") == 0) check_fork();
  std::printf("%s\n", threading_runtime().c_str());
}
