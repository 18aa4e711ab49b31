// C symbols by which threadpoolctl finds this module, and limits its threads
// (python/striate/_threadpools.py). Nothing throws: ctypes calls them.
#include <algorithm>

#include "cpu/parallel.h"

#if defined(_WIN32)
#define STRIATE_EXPORT extern "C" __declspec(dllexport)
#else
#define STRIATE_EXPORT extern "C" __attribute__((visibility("default")))
#endif

STRIATE_EXPORT int striate_get_num_threads() { return striate::cpu::num_threads(); }

STRIATE_EXPORT void striate_set_num_threads(int threads) {
  striate::cpu::set_num_threads(std::clamp(threads, 1, striate::cpu::kMostThreads));
}
