// OptionalInput, over the Input of either kind of array: arrays.h includes it.
#pragma once

#include <vector>

namespace striate::bindings {

/// An optional Input: None gives data() == nullptr.
template <class T>
class OptionalInput {
 public:
  OptionalInput(const py::handle& object, const char* op, const char* name) {
    if (!object.is_none()) input_.emplace_back(object, op, name);
  }
  explicit operator bool() const { return !input_.empty(); }
  const T* data() const { return input_.empty() ? nullptr : input_[0].data(); }
  const Input<T>& operator*() const { return input_[0]; }

 private:
  std::vector<Input<T>> input_;  // one or none
};

}  // namespace striate::bindings
