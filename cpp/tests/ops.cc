// The op tests of C++: each op, forward and backward, on drawn shapes, on every instruction set and
// on several threads, against the naked loops of cpp/reference. They need neither Python nor
// PyTorch, so they run wherever the library does: also on another CPU, emulated.
//
//     ops [OP [NUMBER]]       all ops, one, or one case of it
#include <cstdio>
#include <cstdlib>
#include <string>

#include "cpu/isa.h"
#include "tests/case.h"

namespace striate::tests {

void activation(Case& test);
void adaptive_avg_pool2d(Case& test);
void avg_pool2d(Case& test);
void conv2d(Case& test);
void cross_entropy(Case& test);
void dropout(Case& test);
void gemm(Case& test);
void linear(Case& test);
void local_response_norm(Case& test);
void max_pool2d(Case& test);
void sgd(Case& test);
void softmax(Case& test);

namespace {

constexpr int kCases = 150;  // of each op

constexpr struct {
  const char* name;
  void (*run)(Case& test);
} kOps[] = {
    {"activation", activation},
    {"adaptive_avg_pool2d", adaptive_avg_pool2d},
    {"avg_pool2d", avg_pool2d},
    {"conv2d", conv2d},
    {"cross_entropy", cross_entropy},
    {"dropout", dropout},
    {"gemm", gemm},
    {"linear", linear},
    {"local_response_norm", local_response_norm},
    {"max_pool2d", max_pool2d},
    {"sgd", sgd},
    {"softmax", softmax},
};

int run(const std::string& wanted, int first, int last) {
  int found = 0;
  for (const auto& op : kOps) {
    if (!wanted.empty() && wanted != op.name) continue;
    ++found;
    for (int number = first; number < last; ++number) {
      Case test(op.name, number);
      op.run(test);
    }
    std::printf("%s: right\n", op.name);
  }
  if (found == 0) std::printf("there is no op '%s'\n", wanted.c_str());
  return found == 0;
}

}  // namespace
}  // namespace striate::tests

int main(int argc, char** argv) {
  std::setvbuf(stdout, nullptr, _IONBF, 0);
  for (const std::string& isa : striate::cpu::supported_isas()) std::printf("%s ", isa.c_str());
  std::printf("\n");
  const int first = argc > 2 ? std::atoi(argv[2]) : 0;
  return striate::tests::run(argc > 1 ? argv[1] : "", first,
                             argc > 2 ? first + 1 : striate::tests::kCases);
}
