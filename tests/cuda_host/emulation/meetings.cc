// Where threads wait for each other, and the refusals of what a GPU leaves undefined.
#include <bit>
#include <cstring>

#include "block.h"

namespace striate::cuda_host {
namespace {

bool same(const char* a, const char* b) { return a == b || std::strcmp(a, b) == 0; }

// Instances of one template are different places; the same place may have several addresses.
bool same(const Where& a, const Where& b) {
  return a.line() == b.line() && a.column() == b.column() && same(a.file_name(), b.file_name()) &&
         same(a.function_name(), b.function_name());
}

std::string hex(unsigned mask) {
  char text[16];
  std::snprintf(text, sizeof text, "0x%08x", mask);
  return text;
}

}  // namespace

void Block::arrive(State state, const char* name, Where where) {
  Thread& thread = threads_[current_];
  if (thread.view != nullptr) release_view(thread);
  thread.state = state;
  thread.name = name;
  thread.where = where;
}

void Block::meet_block(const char* name, Where where) {
  arrive(State::block, name, where);
  if (ended_ > 0) fault(std::string("is at ") + name + ", but there are threads that have ended");
  if (arrived_ == 0) {
    first_ = current_;
  } else if (!same(where, threads_[first_].where) || !same(name, threads_[first_].name)) {
    fault(std::string("is at another ") + name + " than " + who(first_));
  }
  if (++arrived_ == count_) {
    arrived_ = 0;
    if (order_ == Order::shuffled) shuffle();
    for (unsigned w = 0; w < warp_count_; ++w) make_ready(w, warps_[w].positions);
    warp_position_ = 0;
  }
  wait();
}

Meeting& Block::join_warp(Warp& warp, unsigned mask, const char* name, Combine combine) {
  const unsigned self = 1u << current_ % warpSize;
  for (unsigned open = warp.open; open != 0; open &= open - 1) {
    Meeting& meeting = warp.meetings[static_cast<unsigned>(std::countr_zero(open))];
    if (meeting.mask == mask && meeting.combine == combine && same(meeting.name, name)) {
      return meeting;
    }
    // They need each other, and each waits elsewhere.
    const unsigned others = meeting.arrived & mask;
    if ((meeting.mask & self) != 0 && others != 0) {
      const unsigned other = current_ / warpSize * warpSize + std::countr_zero(others);
      fault(std::string("is at ") + name + " with mask " + hex(mask) + ", but " + who(other) +
            " is at " + meeting.name + " with mask " + hex(meeting.mask));
    }
  }
  const unsigned i = static_cast<unsigned>(std::countr_one(warp.open));
  if (warp.meetings.size() <= i) warp.meetings.resize(i + 1);
  warp.open |= 1u << i;
  Meeting& meeting = warp.meetings[i];
  meeting.name = name;
  meeting.combine = combine;
  meeting.mask = mask;
  meeting.arrived = 0;
  return meeting;
}

void Block::meet_warp(unsigned mask, const char* name, Combine combine, void* operands,
                      Where where) {
  const unsigned w = current_ / warpSize, lane = current_ % warpSize;
  Warp& warp = warps_[w];
  arrive(State::warp, name, where);
  if (((~mask & 1u << lane) | (mask & ~warp.lanes) | (mask & warp.ended)) != 0) {
    const std::string mine = std::string("is at ") + name + " with mask " + hex(mask);
    if ((mask >> lane & 1) == 0) fault(mine + ", which lacks its own lane");
    if ((mask & ~warp.lanes) != 0) fault(mine + ", which names lanes that the block has not");
    fault(mine + ", which names lanes that have ended: " + hex(mask & warp.ended));
  }
  Meeting& meeting = join_warp(warp, mask, name, combine);
  meeting.operands[lane] = operands;
  meeting.arrived |= 1u << lane;
  if (meeting.arrived == mask) {
    if (combine != nullptr) this->combine(meeting, w * warpSize, mask, warpSize);
    warp.open &= ~(1u << (&meeting - warp.meetings.data()));
    unsigned positions = mask == warp.lanes ? warp.positions : 0;
    if (positions == 0) {
      for (unsigned left = mask; left != 0; left &= left - 1) {
        positions |= 1u << position_of_lane_[std::countr_zero(left)];
      }
    }
    make_ready(w, positions);
  }
  wait();
}

void Block::meet_warpgroup(const char* name, Combine combine, void* operands, Where where) {
  const unsigned g = current_ / kGroup, first = g * kGroup / warpSize;
  arrive(State::warpgroup, name, where);
  const auto refuse = [&](const std::string& why) {
    fault(std::string("is at ") + name + ", but " + why);
  };
  if (count_ < (g + 1) * kGroup) refuse("its warpgroup has less than 128 threads");
  for (unsigned w = first; w < first + kGroup / warpSize; ++w) {
    if (warps_[w].ended != 0) refuse("threads of its warpgroup have ended");
  }
  Meeting& meeting = groups_[g];
  if (meeting.arrived == 0) {
    meeting.name = name;
    meeting.combine = combine;
  } else if (!same(meeting.name, name) || meeting.combine != combine) {
    refuse(std::string("another thread of its warpgroup is at ") + meeting.name);
  }
  meeting.operands[current_ % kGroup] = operands;
  if (++meeting.arrived == kGroup) {
    if (combine != nullptr) this->combine(meeting, g * kGroup, ~0u, kGroup);
    meeting.arrived = 0;
    for (unsigned w = first; w < first + kGroup / warpSize; ++w) make_ready(w, ~0u);
    warp_position_ = static_cast<unsigned>(std::countr_zero(ready_warps_));
  }
  wait();
}

void Block::combine(const Meeting& meeting, unsigned first, unsigned mask, unsigned count) {
  meeting_first_ = first;
  meeting_mask_ = mask;
  meeting_count_ = count;
  meeting.combine(mask, meeting.operands);
  meeting_count_ = 0;
}

void Block::check_nobody_waits_for(unsigned thread) {
  if (arrived_ > 0) {
    fault("ends, but " + who(first_) + " waits for it at " + threads_[first_].name);
  }
  const Warp& warp = warps_[thread / warpSize];
  for (unsigned open = warp.open; open != 0; open &= open - 1) {
    const Meeting& meeting = warp.meetings[static_cast<unsigned>(std::countr_zero(open))];
    if (meeting.mask >> thread % warpSize & 1) {
      fault(std::string("ends, but lanes ") + hex(meeting.arrived) +
            " of its warp wait for it at " + meeting.name);
    }
  }
  const Meeting& group = groups_[thread / kGroup];
  if (group.arrived > 0)
    fault(std::string("ends, but its warpgroup waits for it at ") + group.name);
}

void Block::wait_until(const std::function<bool()>& ready, const char* name, Where where) {
  arrive(State::condition, name, where);
  if (!ready()) {
    conditions_.push_back({current_, &ready});
    wait();
  }
  threads_[current_].state = State::runs;
}

void* Block::lend_view(std::size_t bytes) {
  if (meeting_count_ == 0) fault("borrows a view outside a meeting");
  if (free_views_.empty()) {
    views_.push_back(std::make_unique<View>());
    free_views_.push_back(views_.back().get());
  }
  View* const view = free_views_.back();
  free_views_.pop_back();
  const std::size_t lines = (bytes + sizeof(View::Line) - 1) / sizeof(View::Line);
  if (view->lines.size() < lines) view->lines.resize(lines);
  view->holders = 0;
  for (unsigned i = 0; i < meeting_count_; ++i) {
    if (meeting_count_ == warpSize && (meeting_mask_ >> i & 1) == 0) continue;
    Thread& thread = threads_[meeting_first_ + i];
    if (thread.view != nullptr) release_view(thread);
    thread.view = view;
    ++view->holders;
  }
  return view->lines.data();
}

void Block::release_view(Thread& thread) {
  if (--thread.view->holders == 0) free_views_.push_back(thread.view);
  thread.view = nullptr;
}

void* Block::shared_bytes(std::size_t bytes) {
  if (bytes > shared_size_) {
    fault("asks for " + std::to_string(bytes) + " bytes of shared memory; the launch gave " +
          std::to_string(shared_size_));
  }
  return shared_.get();
}

// ---- what kernels call --------------------------------------------------------------------------

void meet_block(const char* name, Where where) { block().meet_block(name, where); }

void meet_warp(unsigned mask, const char* name, Combine combine, void* operands, Where where) {
  block().meet_warp(mask, name, combine, operands, where);
}

void meet_warpgroup(const char* name, Combine combine, void* operands, Where where) {
  block().meet_warpgroup(name, combine, operands, where);
}

void* lend_view(std::size_t bytes) { return block().lend_view(bytes); }

void* shared_bytes(std::size_t bytes) { return block().shared_bytes(bytes); }

unsigned thread_rank() { return block().current(); }

void when_waiting(std::function<void()> work) { block().when_waiting(std::move(work)); }

void wait_until(const std::function<bool()>& ready, const char* name, Where where) {
  block().wait_until(ready, name, where);
}

void async_issue(std::function<void()> work) { block().async().open.push_back(std::move(work)); }

void async_commit() {
  AsyncWork& async = block().async();
  async.groups.push_back(std::move(async.open));
  async.open.clear();
}

void async_wait(unsigned pending) {
  AsyncWork& async = block().async();
  if (async.groups.size() <= pending) return;
  const auto end = async.groups.end() - pending;
  for (auto group = async.groups.begin(); group != end; ++group) {
    for (const auto& work : *group) work();
  }
  async.groups.erase(async.groups.begin(), end);
}

}  // namespace striate::cuda_host
