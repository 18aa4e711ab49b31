// sgd_step checks each CuPy array: there is no shorter way.
#pragma once

#include <optional>
#include <vector>

#include "arrays.h"
#include "striate/sgd.h"

namespace striate::bindings {

template <class T>
bool plain_tensors(std::vector<SgdTensor<T>>&, std::vector<py::object>&, const py::sequence&,
                   const py::sequence&, const std::optional<py::sequence>&,
                   const std::vector<bool>&) {
  return false;
}

}  // namespace striate::bindings
