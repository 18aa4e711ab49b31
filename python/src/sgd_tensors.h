// The lists of sgd_step: parameters, gradients and buffers, checked.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "arrays.h"
#include "sgd_plain.h"
#include "striate/sgd.h"

namespace striate::bindings {

/// The tensors, which live as long as this does. ValueError for lists of other lengths and arrays of
/// other shapes, TypeError for other arrays.
template <class T>
class SgdTensors {
 public:
  SgdTensors(const py::sequence& params, const py::sequence& grads,
             const std::optional<py::sequence>& buffers, const std::vector<bool>& first) {
    const std::size_t count = params.size();
    expect_length("grads", grads.size(), count);
    if (buffers) {
      expect_length("buffers", buffers->size(), count);
      expect_length("values of first", first.size(), count);
    }
    w_.reserve(count), v_.reserve(count), dw_.reserve(count), tensors_.reserve(count);
    if (plain_tensors(tensors_, kept_, params, grads, buffers, first)) return;
    tensors_.clear();
    names_.reserve(3 * count);  // an Input keeps a pointer to its name
    for (std::size_t i = 0; i < count; ++i) {
      w_.emplace_back(params[i], kOp, named("params", i));
      const Shape shape = w_[i].shape();
      dw_.emplace_back(grads[i], kOp, named("grads", i));
      dw_[i].expect_shape(shape, "that of its parameter");
      if (buffers) {
        v_.emplace_back((*buffers)[i], kOp, named("buffers", i));
        if (v_[i].shape() != shape) {
          fail(kOp, names_.back() + " must have shape " + text(shape) +
                        " (that of its parameter), got " + text(v_[i].shape()));
        }
      }
      tensors_.push_back({.w = w_[i].data(),
                          .dw = dw_[i].data(),
                          .v = buffers ? v_[i].data() : nullptr,
                          .n = w_[i].size(),
                          .first = buffers && first[i]});
    }
  }
  SgdTensors(const SgdTensors&) = delete;

  const SgdTensor<T>* data() const { return tensors_.data(); }
  int64_t count() const { return static_cast<int64_t>(tensors_.size()); }

 private:
  static constexpr const char* kOp = "sgd_step";

  static void expect_length(const char* name, std::size_t length, std::size_t params) {
    if (length != params) {
      fail(kOp, "there are " + std::to_string(params) + " params but " + std::to_string(length) +
                    " " + name);
    }
  }

  const char* named(const char* name, std::size_t i) {
    return names_.emplace_back(std::string(name) + "[" + std::to_string(i) + "]").c_str();
  }

  std::vector<InPlace<T>> w_, v_;
  std::vector<Input<T>> dw_;
  std::vector<SgdTensor<T>> tensors_;
  std::vector<std::string> names_;
  std::vector<py::object> kept_;
};

}  // namespace striate::bindings
