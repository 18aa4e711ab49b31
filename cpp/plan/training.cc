#include "plan/training.h"

#include <algorithm>
#include <optional>

#include "cpu/isa.h"
#include "cpu/parallel.h"

namespace striate::plan {

using cpu::Scratch;

namespace {

// The gradients of the parameters [begin, end), summed by each piece of work over its own images,
// and then added in the order of the pieces.
class PieceSums {
 public:
  PieceSums(float* const* dparams, const int64_t* sizes, std::size_t begin, std::size_t end,
            int64_t pieces)
      : dparams_(dparams + begin, dparams + end), sizes_(sizes + begin), pieces_(pieces) {
    for (std::size_t p = 0; p < dparams_.size(); ++p) floats_ += size(p);
    if (pieces_ > 1) sums_.emplace(pieces_ * floats_);
  }

  /// Where a piece writes; nullptr for gradients that nobody needs.
  std::vector<float*> of(int64_t piece) const {
    if (!sums_) return dparams_;
    std::vector<float*> own(dparams_.size());
    float* at = sums_->get() + piece * floats_;
    for (std::size_t p = 0; p < own.size(); at += size(p++)) {
      own[p] = dparams_[p] == nullptr ? nullptr : at;
    }
    return own;
  }

  void add_up() const {
    if (!sums_) return;
    const float* from = sums_->get();
    for (std::size_t p = 0; p < dparams_.size(); from += size(p++)) {
      std::copy_n(from, size(p), dparams_[p]);
      for (int64_t i = 1; i < pieces_; ++i) {
        cpu::kernels().add(dparams_[p], from + i * floats_, size(p));
      }
    }
  }

 private:
  int64_t size(std::size_t p) const { return dparams_[p] == nullptr ? 0 : sizes_[p]; }

  std::vector<float*> dparams_;
  const int64_t* sizes_;
  int64_t pieces_, floats_ = 0;
  std::optional<Scratch> sums_;
};

int32_t* marks_at(const std::unique_ptr<Scratch>& marks, int64_t at) {
  return marks ? reinterpret_cast<int32_t*>(marks->get()) + at : nullptr;
}

float* data_of(const std::unique_ptr<Scratch>& scratch) {
  return scratch ? scratch->get() : nullptr;
}

}  // namespace

Training::Training(const Dims& input, std::vector<StepPtr> steps)
    : input_(input), steps_(std::move(steps)) {
  for (const StepPtr& step : steps_) {
    size_.add(*step);
    first_param_.push_back(parameter_sizes_.size());
    for (const int64_t size : step->parameter_sizes()) parameter_sizes_.push_back(size);
    key_of_.push_back(dropouts_);
    if (step->drops()) ++dropouts_;
  }
  first_param_.push_back(parameter_sizes_.size());
}

// Neighbours that may work image by image make one segment in a small network; elsewhere every step
// is a segment of its own and cuts its work itself.
std::vector<Training::Segment> Training::segments(int64_t n) const {
  std::vector<Segment> found;
  for (std::size_t i = 0; i < steps_.size(); ++i) {
    const bool by_image = size_.small() && n > 1 && !steps_[i]->wants_whole_batch();
    if (by_image && !found.empty() && found.back().by_image) {
      ++found.back().end;
    } else {
      found.push_back({i, i + 1, by_image});
    }
  }
  return found;
}

std::unique_ptr<Training::Saved> Training::forward(float* y, const float* x,
                                                   const float* const* params, int64_t n,
                                                   std::vector<DropoutKey> keys, bool save) const {
  std::optional<cpu::Serially> serially;
  if (size_.tiny(n)) serially.emplace();
  auto saved = std::make_unique<Saved>(Saved{n, x, {}, {}, std::move(keys)});
  saved->values.resize(steps_.size());
  saved->marks.resize(steps_.size());
  std::vector<float*> value(steps_.size());            // where each step writes
  std::vector<const float*> read(steps_.size() + 1);   // what each step reads; the last: the result
  std::vector<std::size_t> writer(steps_.size() + 1);  // the step that wrote it, plus 1
  std::size_t last = steps_.size();                    // the step that writes y
  while (last > 0 && steps_[last - 1]->only_reshapes()) --last;
  read[0] = x;
  for (std::size_t i = 0; i < steps_.size(); ++i) {
    if (steps_[i]->only_reshapes()) {
      read[i + 1] = read[i];
      writer[i + 1] = writer[i];
      continue;
    }
    writer[i + 1] = i + 1;
    // The caller may write into y; what backward reads of it is a copy.
    const bool is_result = i + 1 == last && !(save && steps_[i]->backward_reads_y());
    if (!is_result) saved->values[i] = std::make_unique<Scratch>(n * steps_[i]->y_size());
    value[i] = is_result ? y : saved->values[i]->get();
    read[i + 1] = value[i];
    if (save && steps_[i]->saved_size() > 0) {
      saved->marks[i] = std::make_unique<Scratch>(n * steps_[i]->saved_size());
    }
  }
  for (const Segment& segment : segments(n)) {
    std::vector<std::unique_ptr<Scratch>> prepared(segment.end - segment.begin);
    for (std::size_t i = segment.begin; i < segment.end; ++i) {
      if (!steps_[i]->prepares_each_batch() || steps_[i]->prepared_size() == 0) continue;
      auto& to = prepared[i - segment.begin];
      to = std::make_unique<Scratch>(steps_[i]->prepared_size());
      steps_[i]->prepare(to->get(), params + first_param_[i]);
    }
    const auto run = [&](int64_t begin, int64_t end) {
      for (std::size_t i = segment.begin; i < segment.end; ++i) {
        const Step& step = *steps_[i];
        if (step.only_reshapes()) continue;
        const float* const from = read[i] + begin * step.x_size();
        step.forward({.y = value[i] + begin * step.y_size(),
                      .x = &from,
                      .params = params + first_param_[i],
                      .prepared = data_of(prepared[i - segment.begin]),
                      .saved = marks_at(saved->marks[i], begin * step.saved_size()),
                      .key = step.drops() ? &saved->keys[key_of_[i]] : nullptr,
                      .n = end - begin,
                      .first = begin});
      }
    };
    if (segment.by_image) {
      cpu::parallel_for(n, images_together(n), run);
    } else {
      run(0, n);
    }
    // What nobody reads again may go.
    for (std::size_t i = segment.begin; i < segment.end; ++i) {
      if (steps_[i]->only_reshapes() || writer[i] == 0) continue;
      const std::size_t wrote = writer[i] - 1;
      const bool backward_reads =
          steps_[wrote]->backward_reads_y() || steps_[i]->backward_reads_x();
      if (!(save && backward_reads)) saved->values[wrote].reset();
    }
  }
  if (read.back() != y) std::copy_n(read.back(), n * size_of(output()), y);
  return saved;
}

// Below the lowest step whose gradient somebody needs, nothing is computed.
std::size_t Training::lowest_needed(const float* dx, float* const* dparams) const {
  if (dx != nullptr) return 0;
  for (std::size_t i = 0; i < steps_.size(); ++i) {
    const auto begin = dparams + first_param_[i], end = dparams + first_param_[i + 1];
    if (std::any_of(begin, end, [](const float* p) { return p != nullptr; })) return i;
  }
  return steps_.size();
}

void Training::backward(float* dx, float* const* dparams, const float* dy, const Saved& saved,
                        const float* const* params) const {
  std::optional<cpu::Serially> serially;
  if (size_.tiny(saved.n)) serially.emplace();
  const int64_t n = saved.n;

  const std::size_t lowest = lowest_needed(dx, dparams);
  // What each step read, and the result. (Of what was not kept, nobody reads.)
  std::vector<const float*> value(steps_.size() + 1);
  value[0] = saved.x;
  for (std::size_t i = 0; i < steps_.size(); ++i) {
    value[i + 1] = steps_[i]->only_reshapes() ? value[i] : data_of(saved.values[i]);
  }

  if (steps_.empty() && dx != nullptr) std::copy_n(dy, n * size_of(input_), dx);
  std::unique_ptr<Scratch> arrived;  // holds the gradient that the next segment reads
  const float* grad = dy;
  const std::vector<Segment> all = segments(n);
  for (auto segment = all.rbegin(); segment != all.rend(); ++segment) {
    const std::size_t first = std::max(segment->begin, lowest), end = segment->end;
    if (first >= end) break;
    const bool needs_dx = first > lowest || dx != nullptr;
    if (end - first == 1 && steps_[first]->only_reshapes()) {
      if (first == 0 && dx != nullptr) std::copy_n(grad, n * steps_[0]->x_size(), dx);
      continue;
    }
    std::unique_ptr<Scratch> below;
    float* to = nullptr;
    if (needs_dx) {
      const int64_t size = n * steps_[first]->x_size();
      if (first > 0) below = std::make_unique<Scratch>(size);
      to = first == 0 ? dx : below->get();
    }
    std::vector<std::unique_ptr<Scratch>> prepared(end - first);
    for (std::size_t i = first; i < end; ++i) {
      const bool wanted = i > first || needs_dx;
      if (!wanted || steps_[i]->prepared_backward_size() == 0) continue;
      prepared[i - first] = std::make_unique<Scratch>(steps_[i]->prepared_backward_size());
      steps_[i]->prepare_backward(prepared[i - first]->get(), params + first_param_[i]);
    }

    const int64_t piece = segment->by_image ? images_together(n) : std::max<int64_t>(n, 1);
    const PieceSums sums(dparams, parameter_sizes_.data(), first_param_[first], first_param_[end],
                         (n + piece - 1) / piece);
    const auto run = [&](int64_t begin, int64_t stop) {
      const int64_t images = stop - begin;
      const std::vector<float*> own = sums.of(begin / piece);
      std::unique_ptr<Scratch> above, mine;
      const float* dy_here = grad + begin * steps_[end - 1]->y_size();
      for (std::size_t i = end; i-- > first;) {
        const Step& step = *steps_[i];
        if (step.only_reshapes()) {
          if (i == first && to != nullptr) {
            std::copy_n(dy_here, images * step.x_size(), to + begin * step.x_size());
          }
          continue;
        }
        float* dx_here = nullptr;
        if (i > first) {
          mine = std::make_unique<Scratch>(images * step.x_size());
          dx_here = mine->get();
        } else if (to != nullptr) {
          dx_here = to + begin * step.x_size();
        }
        step.backward(
            {.dx = dx_here,
             .dy = dy_here,
             .x = step.backward_reads_x() ? value[i] + begin * step.x_size() : nullptr,
             .y = step.backward_reads_y() ? value[i + 1] + begin * step.y_size() : nullptr,
             .params = params + first_param_[i],
             .prepared = data_of(prepared[i - first]),
             .saved = marks_at(saved.marks[i], begin * step.saved_size()),
             .dparams = own.data() + (first_param_[i] - first_param_[first]),
             .key = step.drops() ? &saved.keys[key_of_[i]] : nullptr,
             .n = images,
             .first = begin});
        above = std::move(mine);
        dy_here = dx_here;
      }
    };
    if (segment->by_image) {
      cpu::parallel_for(n, piece, run);
    } else {
      run(0, n);
    }
    sums.add_up();
    arrived = std::move(below);
    grad = to;
  }
}

}  // namespace striate::plan
