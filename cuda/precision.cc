#include "cuda/precision.h"

#include <atomic>
#include <stdexcept>
#include <string>

#include "cuda/launch.h"

namespace striate::cuda {
namespace {

std::atomic<Precision> chosen{Precision::float32};

}  // namespace

const char* name_of(Precision precision) {
  switch (precision) {
    case Precision::float32:
      return "float32";
    case Precision::tf32:
      return "tf32";
    case Precision::bf16:
      return "bf16";
  }
  return "";
}

Precision precision() { return chosen; }

void set_precision(Precision precision) {
  check_has(precision);
  chosen = precision;
}

void check_has(Precision precision) {
  if (precision == Precision::float32) return;
  const int capability = compute_capability();
  if (capability < 80) {
    throw std::runtime_error(std::string("set_precision: '") + name_of(precision) +
                             "' needs a GPU of compute capability 8.0 or newer, this one has " +
                             capability_text(capability));
  }
}

}  // namespace striate::cuda
