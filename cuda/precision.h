// In which arithmetic products are made: float32 unless the user asks for less.
#pragma once

namespace striate::cuda {

enum class Precision {
  float32,  // no TF32
  tf32,     // tensor cores on operands rounded to 10 bits of mantissa, float32 sums
  bf16,     // tensor cores on operands rounded to bfloat16, float32 sums
};

const char* name_of(Precision precision);

/// What set_precision set last, for the whole process.
Precision precision();
/// Throws std::runtime_error where the current device has no tensor cores for it.
void set_precision(Precision precision);

/// Throws std::runtime_error, one sentence, where the current device lacks what `precision` needs.
void check_has(Precision precision);

}  // namespace striate::cuda
