#include "cpu/memory.h"

#if defined(__linux__) || defined(__APPLE__)
#include <pthread.h>
#endif
#if defined(__linux__)
#include <sys/mman.h>
#endif

#include <cstdlib>
#include <map>
#include <mutex>
#include <new>
#include <vector>

#include "cpu/out_of_memory.h"

namespace striate::cpu {
namespace {

#if defined(__SANITIZE_ADDRESS__)
constexpr bool kKeepBlocks = false;  // a kept block would hide a use after release
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
constexpr bool kKeepBlocks = false;
#else
constexpr bool kKeepBlocks = true;
#endif
#else
constexpr bool kKeepBlocks = true;
#endif

// Four classes per power of two: at most a fifth of a block is wasted.
std::size_t size_class(std::size_t bytes) {
  std::size_t step = kAlignment;
  while (step * 8 < bytes) step *= 2;
  return (bytes + step - 1) / step * step;
}

// The class stands in front of the block, in a cache line of its own.
struct Header {
  std::size_t size;
};

struct Pool {
  std::mutex mutex;
  std::map<std::size_t, std::vector<Header*>> free_blocks;
  std::size_t cached = 0;
};

Pool& pool() {
  static Pool* const instance = new Pool;  // never destroyed: arrays may outlive static objects
  return *instance;
}

#if defined(__linux__) || defined(__APPLE__)
// A fork waits until no thread is inside, or its child would wait for ever.
[[maybe_unused]] const int watches_forks = pthread_atfork(
    [] { pool().mutex.lock(); }, [] { pool().mutex.unlock(); }, [] { pool().mutex.unlock(); });
#endif

// A block of the system's, or nullptr. Large ones ask for huge pages: a page fault for every 2 MiB
// and not for every 4 KiB.
void* system_block(std::size_t bytes) {
  constexpr std::size_t kHugePage = std::size_t{2} << 20;
  const bool large = bytes >= 2 * kHugePage;
  void* memory = nullptr;
  if (posix_memalign(&memory, large ? kHugePage : kAlignment, bytes) != 0) return nullptr;
#if defined(__linux__)
  if (large) madvise(memory, bytes / kHugePage * kHugePage, MADV_HUGEPAGE);  // or not: no matter
#endif
  return memory;
}

}  // namespace

void* allocate(std::size_t bytes) {
  make_room_to_throw();
  if (bytes > SIZE_MAX / 2) throw OutOfMemory(bytes);
  const std::size_t size = kKeepBlocks ? size_class(bytes) : bytes;
  Header* header = nullptr;
  if (kKeepBlocks) {
    const std::lock_guard lock(pool().mutex);
    const auto found = pool().free_blocks.find(size);
    if (found != pool().free_blocks.end() && !found->second.empty()) {
      header = found->second.back();
      found->second.pop_back();
      pool().cached -= size;
    }
  }
  if (header == nullptr) {
    void* memory = system_block(kAlignment + size);
    if (memory == nullptr) {
      empty_cache();  // what is kept may be what is missing
      memory = system_block(kAlignment + size);
      if (memory == nullptr) throw OutOfMemory(bytes);
    }
    header = static_cast<Header*>(memory);
    header->size = size;
  }
  return reinterpret_cast<char*>(header) + kAlignment;
}

void release(void* block) noexcept {
  if (block == nullptr) return;
  Header* header = reinterpret_cast<Header*>(static_cast<char*>(block) - kAlignment);
  if (kKeepBlocks) {
    try {
      const std::lock_guard lock(pool().mutex);
      if (pool().cached + header->size <= kCacheLimit) {
        pool().free_blocks[header->size].push_back(header);
        pool().cached += header->size;
        return;
      }
    } catch (...) {  // no memory for the list: give the block back to the system
    }
  }
  std::free(header);
}

void empty_cache() noexcept {
  const std::lock_guard lock(pool().mutex);
  for (auto& [size, blocks] : pool().free_blocks) {
    for (Header* header : blocks) std::free(header);
    blocks.clear();
  }
  pool().cached = 0;
}

std::size_t cached_bytes() noexcept {
  const std::lock_guard lock(pool().mutex);
  return pool().cached;
}

}  // namespace striate::cpu
