// Prints the cores that the control groups grant in each tree of files given; test_thread_count.py
// compiles this and makes the trees.
#include "cpu/cgroup.h"

#include <cstdio>

int main(int argc, char** argv) {
  for (int i = 1; i < argc; ++i) std::printf("%d\n", striate::cpu::cgroup_cores(argv[i]));
}
