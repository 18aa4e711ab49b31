// The threads of one block: which of them can run, and whom the others wait for.
#pragma once

#include <cstddef>
#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "execution.h"
#include "fibre.h"
#include "launch.h"

namespace striate::cuda_host {

constexpr unsigned kMostThreads = 1024, kMostWarps = kMostThreads / warpSize;
constexpr unsigned kGroup = 128;  // threads of a warpgroup
constexpr unsigned kNone = ~0u;

/// Memory that threads borrowed, and how many still hold it.
struct View {
  struct alignas(64) Line {
    std::byte bytes[64];
  };
  std::vector<Line> lines;
  unsigned holders = 0;
};

/// Asynchronous work of one thread, in groups.
struct AsyncWork {
  using Group = std::vector<std::function<void()>>;
  std::vector<Group> groups;
  Group open;
};

enum class State { runs, block, warp, warpgroup, condition };

struct Thread {
  Fibre* fibre;  // nullptr before it starts and after it ended
  State state;
  const char* name;  // of what it waits at
  Where where;
  View* view;
};

/// Threads that wait for each other: of a warp those of `mask`, or a warpgroup.
struct Meeting {
  const char* name;
  Combine combine;
  unsigned mask;
  unsigned arrived;  // a mask in a warp, a count in a warpgroup
  void* operands[kGroup];
};

struct Warp {
  unsigned ready;      // by position: who can run
  unsigned positions;  // by position: all
  unsigned lanes;      // by lane: all
  unsigned ended;      // by lane
  unsigned open;       // by index: the meetings that wait for somebody
  std::vector<Meeting> meetings;
};

/// Thrown by the thread that is at fault, for the sake of what is on its stack.
struct Fault {};

/// There is one: blocks run one after another, whichever system thread launches them.
class Block {
 public:
  cudaError_t run(const Launch& launch);
  void set_order(Order order, uint64_t seed);
  bool runs() const { return launch_ != nullptr; }

  // For the running thread.
  unsigned current() const { return current_; }
  void meet_block(const char* name, Where where);
  void meet_warp(unsigned mask, const char* name, Combine combine, void* operands, Where where);
  void meet_warpgroup(const char* name, Combine combine, void* operands, Where where);
  void wait_until(const std::function<bool()>& ready, const char* name, Where where);
  void when_waiting(std::function<void()> work) { deferred_.push_back(std::move(work)); }
  AsyncWork& async() { return async_[current_]; }
  void* lend_view(std::size_t bytes);
  void* shared_bytes(std::size_t bytes);
  [[noreturn]] void fault(const std::string& what);
  /// The same where nothing can be thrown any more.
  [[noreturn]] void overflow();
  /// What every fibre does: it runs threads from their start to their end.
  [[noreturn]] void run_threads();

 private:
  struct Condition {
    unsigned thread;
    const std::function<bool()>* holds;
  };

  // block.cc
  void begin_launch(const Launch& launch);
  void begin_block(uint64_t number);
  void take(unsigned thread);
  void wait();
  void end_thread();
  Fibre* fresh_fibre();
  void abandon();
  // order.cc
  uint64_t random();
  void shuffle();
  void make_ready(unsigned warp, unsigned positions);
  unsigned next();
  bool progress();
  // meetings.cc
  void arrive(State state, const char* name, Where where);
  Meeting& join_warp(Warp& warp, unsigned mask, const char* name, Combine combine);
  void combine(const Meeting& meeting, unsigned first, unsigned mask, unsigned count);
  void check_nobody_waits_for(unsigned thread);
  void release_view(Thread& thread);
  // report.cc
  void report(const std::string& what);
  std::string header() const;
  std::string who(unsigned thread) const;
  std::string doing(unsigned thread) const;
  std::string doings() const;

  const Launch* launch_ = nullptr;
  unsigned count_ = 0, warp_count_ = 0;  // threads and warps of a block
  dim3 indexed_{0, 0, 0};                // the shape that indices_ is for
  uint3 indices_[kMostThreads];
  Thread threads_[kMostThreads] = {};
  Warp warps_[kMostWarps] = {};
  Meeting groups_[kMostThreads / kGroup] = {};
  unsigned ready_warps_ = 0;  // by position

  // The order: what stands at each position, and the position of each.
  Order order_ = Order::forward;
  uint64_t random_ = 1;
  unsigned lane_at_[warpSize], position_of_lane_[warpSize];
  unsigned warp_at_[kMostWarps], position_of_warp_[kMostWarps];

  unsigned current_ = 0;        // thread
  unsigned warp_position_ = 0;  // of its warp
  unsigned arrived_ = 0;        // at the block's barrier
  unsigned first_ = 0;          // who came there first
  unsigned ended_ = 0;
  std::vector<Condition> conditions_;
  std::deque<std::function<void()>> deferred_;
  std::vector<AsyncWork> async_{kMostThreads};

  // The meeting that is being combined.
  unsigned meeting_first_ = 0, meeting_mask_ = 0, meeting_count_ = 0;
  std::vector<std::unique_ptr<View>> views_;
  std::vector<View*> free_views_;

  std::unique_ptr<void, void (*)(void*)> shared_{nullptr, nullptr};
  std::size_t shared_size_ = 0;

  Fibre main_;
  Fibre* fibre_ = nullptr;  // that runs
  std::vector<Fibre*> free_fibres_;
  bool failed_ = false, overflowed_ = false;
};

Block& block();

}  // namespace striate::cuda_host
