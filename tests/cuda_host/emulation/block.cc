#include "block.h"

#include <cstdlib>
#include <cstring>
#include <mutex>
#include <new>
#include <numeric>

uint3 threadIdx, blockIdx;
dim3 blockDim, gridDim;

namespace striate::cuda_host {
namespace {

std::mutex one_launch;

constexpr std::size_t kSharedAlignment = 1024;

void run_fibre() {
  entered();
  block().run_threads();
}

}  // namespace

Block& block() {
  static Block& block = *new Block;  // fibres are never given back: leave them to the process
  return block;
}

cudaError_t run(const Launch& launch) {
  const std::lock_guard lock(one_launch);
  return block().run(launch);
}

void set_order(Order order, uint64_t seed) {
  const std::lock_guard lock(one_launch);
  block().set_order(order, seed);
}

cudaError_t Block::run(const Launch& launch) {
  begin_launch(launch);
  const uint64_t blocks = uint64_t{gridDim.x} * gridDim.y * gridDim.z;
  // n -> n * step + start passes every block once where step and the number have no common factor.
  uint64_t step = 1, start = 0;
  if (order_ == Order::shuffled && blocks > 1) {
    start = random() % blocks;
    do step = 1 + random() % blocks;
    while (std::gcd(step, blocks) != 1);
  }
  for (uint64_t n = 0; n < blocks && !failed_; ++n) {
    const auto nth =
        static_cast<uint64_t>((static_cast<unsigned __int128>(n) * step + start) % blocks);
    begin_block(order_ == Order::reversed ? blocks - 1 - n : nth);
    take(next());
    fibre_ = fresh_fibre();
    switch_fibre(main_, *fibre_);
  }
  if (failed_) abandon();
  launch_ = nullptr;
  return failed_ ? cudaErrorLaunchFailure : cudaSuccess;
}

void Block::begin_launch(const Launch& launch) {
  launch_ = &launch;
  failed_ = false;
  gridDim = launch.grid;
  blockDim = launch.block;
  count_ = blockDim.x * blockDim.y * blockDim.z;
  warp_count_ = (count_ + warpSize - 1) / warpSize;
  if (indexed_.x != blockDim.x || indexed_.y != blockDim.y || indexed_.z != blockDim.z) {
    indexed_ = blockDim;
    for (unsigned i = 0; i < count_; ++i) {
      indices_[i] = {i % blockDim.x, i / blockDim.x % blockDim.y, i / blockDim.x / blockDim.y};
    }
  }
  for (unsigned w = 0; w < warp_count_; ++w) {
    const unsigned lanes = count_ - w * warpSize;
    warps_[w].lanes = warps_[w].positions = lanes >= warpSize ? ~0u : (1u << lanes) - 1;
  }
  if (shared_size_ != launch.shared) {  // exactly as many, so that AddressSanitizer knows the end
    shared_ = {nullptr, nullptr};
    shared_size_ = launch.shared;
    void* memory = nullptr;
    if (shared_size_ > 0 && posix_memalign(&memory, kSharedAlignment, shared_size_) != 0) {
      throw std::bad_alloc();
    }
    shared_ = {memory, std::free};
  }
  shuffle();
  adopt_own_stack(main_);
  on_overflow([] { block().overflow(); });
}

void Block::begin_block(uint64_t number) {
  blockIdx.x = static_cast<unsigned>(number % gridDim.x);
  blockIdx.y = static_cast<unsigned>(number / gridDim.x % gridDim.y);
  blockIdx.z = static_cast<unsigned>(number / gridDim.x / gridDim.y);
  if (shared_size_ > 0) std::memset(shared_.get(), 0xFF, shared_size_);
  if (order_ == Order::shuffled) shuffle();
  for (unsigned w = 0; w < warp_count_; ++w) {
    warps_[w].ready = warps_[w].positions;
    warps_[w].ended = 0;
  }
  ready_warps_ = warp_count_ == kMostWarps ? ~0u : (1u << warp_count_) - 1;
  warp_position_ = arrived_ = ended_ = 0;
}

void Block::take(unsigned thread) {
  current_ = thread;
  threadIdx = indices_[thread];
}

Fibre* Block::fresh_fibre() {
  if (free_fibres_.empty()) {
    free_fibres_.push_back(make_fibre());
    prepare(*free_fibres_.back(), run_fibre);
  }
  Fibre* const fibre = free_fibres_.back();
  free_fibres_.pop_back();
  return fibre;
}

// A stack is another thread's as soon as one has ended: a kernel that never waits needs one stack
// and no switch.
void Block::run_threads() {
  for (;;) {
    unsigned thread = kNone;
    try {
      launch_->thread();
      end_thread();
      thread = next();
    } catch (const Fault&) {
      threads_[current_].fibre = nullptr;
    }
    Fibre* to = &main_;  // after the block's last thread, or a fault
    if (thread != kNone) {
      take(thread);
      to = threads_[thread].fibre;
      if (to == nullptr) continue;  // it has not started
    }
    Fibre* const mine = fibre_;
    free_fibres_.push_back(mine);
    fibre_ = to;
    switch_fibre(*mine, *to);
  }
}

void Block::overflow() {
  report("has overflowed its stack");
  overflowed_ = true;
  switch_fibre(*fibre_, main_);
  std::abort();  // nobody comes back
}

void Block::end_thread() {
  Thread& thread = threads_[current_];
  thread.fibre = nullptr;
  warps_[current_ / warpSize].ended |= 1u << current_ % warpSize;
  ++ended_;
  if (thread.view != nullptr) release_view(thread);
  AsyncWork& async = async_[current_];
  if (!async.open.empty() || !async.groups.empty()) async = {};
  check_nobody_waits_for(current_);
}

// Runs others until somebody makes this thread ready.
void Block::wait() {
  const unsigned thread = current_;
  threads_[thread].fibre = fibre_;
  const unsigned to = next();
  if (to != thread) {
    take(to);
    Fibre* const mine = fibre_;
    fibre_ = threads_[to].fibre != nullptr ? threads_[to].fibre : fresh_fibre();
    switch_fibre(*mine, *fibre_);
  }
  threads_[thread].state = State::runs;
  if (failed_) throw Fault();
}

// After a fault: every thread that waits goes back to its start, by the way of its destructors.
void Block::abandon() {
  if (overflowed_) {
    prepare(*fibre_, run_fibre);
    free_fibres_.push_back(fibre_);
    threads_[current_].fibre = nullptr;
    overflowed_ = false;
  }
  for (unsigned i = 0; i < count_; ++i) {
    if (threads_[i].fibre == nullptr) continue;
    take(i);
    fibre_ = threads_[i].fibre;
    switch_fibre(main_, *fibre_);
  }
  for (Thread& thread : threads_) thread = {};
  for (Warp& warp : warps_) warp.open = 0;
  for (Meeting& group : groups_) group.arrived = 0;
  for (AsyncWork& async : async_) async = {};
  conditions_.clear();
  deferred_.clear();
  free_views_.clear();
  for (const auto& view : views_) free_views_.push_back(view.get());
}

}  // namespace striate::cuda_host
