// Prints the default number of threads, and why, where the control groups grant one core;
// test_thread_count.py compiles this with the rest of cpp/cpu's threads.
#include <cstdio>

#include "cpu/cgroup.h"
#include "cpu/parallel.h"

namespace striate::cpu {

int cgroup_cores(const std::string&) { return 1; }  // in cgroup.cc's place

}  // namespace striate::cpu

int main() {
  std::printf("%d %s\n", striate::cpu::num_threads(), striate::cpu::num_threads_reason().c_str());
}
