// No threads, for platforms that have none.
#include "cpu/threads/threads.h"

namespace striate::cpu {

std::string threads_name() { return "none (serial)"; }

bool run_on_threads(int, int64_t, void (*)(void*, int64_t), void*) { return false; }

bool threads_forked_away() { return false; }

}  // namespace striate::cpu
