// Which thread runs next.
#include <bit>
#include <utility>

#include "block.h"

namespace striate::cuda_host {

void Block::set_order(Order order, uint64_t seed) {
  order_ = order;
  random_ = seed * 0x9E3779B97F4A7C15u + 0xD1B54A32D192ED03u;
  if (random_ == 0) random_ = 1;
  for (int i = 0; i < warpSize; ++i) {
    lane_at_[i] = warp_at_[i] = static_cast<unsigned>(i);
  }
}

uint64_t Block::random() {
  random_ ^= random_ << 13;
  random_ ^= random_ >> 7;
  random_ ^= random_ << 17;
  return random_ * 0x2545F4914F6CDD1Du >> 32;
}

// Every thread must be ready, or none: positions change their meaning.
void Block::shuffle() {
  if (order_ == Order::shuffled) {
    for (unsigned i = warpSize - 1; i > 0; --i)
      std::swap(lane_at_[i], lane_at_[random() % (i + 1)]);
    for (unsigned i = 0; i < warp_count_; ++i) warp_at_[i] = i;
    for (unsigned i = warp_count_ - 1; i > 0; --i) {
      std::swap(warp_at_[i], warp_at_[random() % (i + 1)]);
    }
  } else {
    const bool forward = order_ == Order::forward;
    for (unsigned i = 0; i < warpSize; ++i) lane_at_[i] = forward ? i : warpSize - 1 - i;
    for (unsigned i = 0; i < warp_count_; ++i) warp_at_[i] = forward ? i : warp_count_ - 1 - i;
  }
  for (unsigned i = 0; i < warpSize; ++i) position_of_lane_[lane_at_[i]] = i;
  for (unsigned i = 0; i < warp_count_; ++i) position_of_warp_[warp_at_[i]] = i;
  Warp& last = warps_[warp_count_ - 1];  // the one that may have fewer lanes
  last.positions = 0;
  for (unsigned i = 0; i < warpSize; ++i) {
    if (last.lanes >> i & 1) last.positions |= 1u << position_of_lane_[i];
  }
}

void Block::make_ready(unsigned warp, unsigned positions) {
  warps_[warp].ready |= positions;
  ready_warps_ |= 1u << position_of_warp_[warp];
}

// Takes a thread that can run out of those: of the same warp where it has one, else of the first
// warp. kNone at the block's end.
unsigned Block::next() {
  while (ready_warps_ == 0) {
    if (!progress()) return kNone;
  }
  unsigned position = warp_position_;
  if (order_ == Order::shuffled && random() % 4 == 0) {
    position = static_cast<unsigned>(random() % warp_count_);  // so that warps also interleave
  }
  if ((ready_warps_ >> position & 1) == 0) {
    position = static_cast<unsigned>(std::countr_zero(ready_warps_));
  }
  warp_position_ = position;
  const unsigned w = warp_at_[position];
  Warp& warp = warps_[w];
  const int lane = std::countr_zero(warp.ready);
  warp.ready &= warp.ready - 1;
  if (warp.ready == 0) ready_warps_ &= ~(1u << position);
  return w * warpSize + lane_at_[lane];
}

// When no thread can run: looks for a condition that holds now, or does deferred work. False at the
// block's end.
bool Block::progress() {
  bool woken = false;
  for (std::size_t i = 0; i < conditions_.size();) {
    const Condition condition = conditions_[i];
    if ((*condition.holds)()) {
      conditions_.erase(conditions_.begin() + static_cast<std::ptrdiff_t>(i));
      const unsigned lane = condition.thread % warpSize;
      make_ready(condition.thread / warpSize, 1u << position_of_lane_[lane]);
      woken = true;
    } else {
      ++i;
    }
  }
  if (woken) return true;
  if (!deferred_.empty()) {
    const std::size_t i = order_ == Order::shuffled ? random() % deferred_.size() : 0;
    const std::function<void()> work = std::move(deferred_[i]);
    deferred_.erase(deferred_.begin() + static_cast<std::ptrdiff_t>(i));
    work();
    return true;
  }
  if (ended_ == count_) return false;
  fault("is the last to wait in a deadlock: no thread can go on");
}

}  // namespace striate::cuda_host
