// The op tests of C++: each op, forward and backward, on drawn shapes, on every instruction set and
// on several threads, against the naked loops of cpp/reference. They need neither Python nor
// PyTorch, so they run wherever the library does: also on another CPU, emulated.
//
//     ops [OP [NUMBER]]       all ops, one, or one case of it
#include <algorithm>
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
void lenet(Case& test);
void linear(Case& test);
void local_response_norm(Case& test);
void max_pool2d(Case& test);
void sgd(Case& test);
void softmax(Case& test);

namespace {

constexpr struct {
  const char* name;
  void (*run)(Case& test);
  int cases = 150;
} kOps[] = {
    {"activation", activation},
    {"adaptive_avg_pool2d", adaptive_avg_pool2d},
    {"avg_pool2d", avg_pool2d},
    {"conv2d", conv2d},
    {"cross_entropy", cross_entropy},
    {"dropout", dropout},
    {"gemm", gemm},
    {"lenet", lenet, 3},
    {"linear", linear},
    {"local_response_norm", local_response_norm},
    {"max_pool2d", max_pool2d},
    {"sgd", sgd},
    {"softmax", softmax},
};

// `number`: of the only case to run; all of them if it is negative.
int run(const std::string& wanted, int number) {
  int found = 0;
  for (const auto& op : kOps) {
    if (!wanted.empty() && wanted != op.name) continue;
    ++found;
    for (int i = std::max(0, number); i < (number < 0 ? op.cases : number + 1); ++i) {
      Case test(op.name, i);
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
  return striate::tests::run(argc > 1 ? argv[1] : "", argc > 2 ? std::atoi(argv[2]) : -1);
}
