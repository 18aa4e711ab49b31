// Work without the GIL, also while the interpreter ends.
//
// A daemon thread that comes back from such work after the interpreter began to end finds no GIL to
// be had any more. Python before 3.14 ends the thread there, by pthread_exit, which unwinds the
// stack as an exception does: it may not leave a destructor ("terminate called"), and on its way
// through ours would release Python's objects without the GIL. So such a thread stops before that,
// for good, as it does in Python 3.14, and ends with the process.
#pragma once

#include <pybind11/pybind11.h>

#include <chrono>
#include <thread>

namespace striate::bindings {

/// What call() returns: one call into Python's C API, which may give up the GIL and take it again,
/// and throws nothing.
template <class Call>
auto stopping_at_exit(const Call& call) noexcept {
  try {
    return call();
  } catch (...) {  // the unwinding: it must not go on from here, so this block has no end
    for (;;) std::this_thread::sleep_for(std::chrono::hours(1));
  }
}

/// Holds the GIL off for its lifetime.
class WithoutGil {
 public:
  WithoutGil() : state_(PyEval_SaveThread()) {}
  ~WithoutGil() {
    stopping_at_exit([&] { PyEval_RestoreThread(state_); });
  }
  WithoutGil(const WithoutGil&) = delete;
  WithoutGil& operator=(const WithoutGil&) = delete;

 private:
  PyThreadState* state_;
};

}  // namespace striate::bindings
