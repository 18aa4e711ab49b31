// What a thread needs that shall say that there is no more memory.
#pragma once

#include <cstddef>
#include <cstdio>
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

/// Makes the room that this thread needs to run ops and to throw: the thread-locals of libstdc++ and
/// of this module. glibc makes it at a thread's first look at them, because Python's modules are
/// loaded late, and ends the process if there is no memory, which may be why it throws.
void make_room_to_throw() noexcept;

}  // namespace striate::cpu
