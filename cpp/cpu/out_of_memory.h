// What a thread needs that shall say that there is no more memory.
#pragma once

#include <cstddef>
#include <cstdio>
#include <exception>
#include <new>

namespace striate::cpu {

/// Says how much was missing; std::bad_alloc itself says its name.
class OutOfMemory : public std::bad_alloc {
 public:
  explicit OutOfMemory(std::size_t bytes) noexcept {
    std::snprintf(text_, sizeof text_, "%zu bytes could not be had", bytes);
  }
  const char* what() const noexcept override { return text_; }

 private:
  char text_[48];
};

/// Makes the room that this thread needs to throw. libstdc++ and glibc make it at a thread's first
/// throw, and end the process if there is no memory, which is why it may throw.
inline void make_room_to_throw() noexcept {
  [[maybe_unused]] volatile const int looked = std::uncaught_exceptions();  // a pure function
}

}  // namespace striate::cpu
