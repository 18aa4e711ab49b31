#include "cpu/conv2d_algorithm.h"

#include <cstdlib>
#include <optional>
#include <stdexcept>
#include <string>

namespace striate::cpu {
namespace {

struct Algorithm {
  const char* name;
  Conv2dForward forward;
};

// In the order of the enumeration.
constexpr Algorithm kAlgorithms[] = {
    {"gemm", {gemm_weights_size, gemm_prepare_weights, gemm_conv2d_forward}},
};

std::optional<Conv2dAlgorithm> from_environment() {
  const char* const name = std::getenv("STRIATE_CONV");
  if (name == nullptr || *name == '\0') return std::nullopt;
  std::string known;
  int i = 0;
  for (const Algorithm& algorithm : kAlgorithms) {
    if (std::string(name) == algorithm.name) return static_cast<Conv2dAlgorithm>(i);
    known += (i++ == 0 ? "" : ", ") + std::string(algorithm.name);
  }
  throw std::invalid_argument("STRIATE_CONV: must be one of " + known + ", got '" + name + "'");
}

// A failed initialisation is tried, and reported, again at the next call.
const std::optional<Conv2dAlgorithm>& forced() {
  static const std::optional<Conv2dAlgorithm> algorithm = from_environment();
  return algorithm;
}

bool can_run(Conv2dAlgorithm algorithm, Conv2dPass, const Conv2dShape&) {
  return algorithm == Conv2dAlgorithm::gemm;
}

}  // namespace

const char* name_of(Conv2dAlgorithm algorithm) {
  return kAlgorithms[static_cast<int>(algorithm)].name;
}

const Conv2dForward& conv2d_forward_of(Conv2dAlgorithm algorithm) {
  return kAlgorithms[static_cast<int>(algorithm)].forward;
}

Conv2dAlgorithm conv2d_algorithm(Conv2dPass pass, const Conv2dShape& s) {
  if (forced() && can_run(*forced(), pass, s)) return *forced();
  return Conv2dAlgorithm::gemm;
}

}  // namespace striate::cpu
