// cuda_host_selftest [NAME]: runs the checks, prints a line for each, returns how many failed.
// 125: there is none of that name.
#include <cstdio>
#include <exception>

#include "check.h"

namespace selftest {

std::vector<const Check*>& checks() {
  static std::vector<const Check*> checks;
  return checks;
}

Check::Check(const char* name, void (*body)(), bool fatal) : name(name), body(body), fatal(fatal) {
  checks().push_back(this);
}

namespace {

const Check failing{"a check that fails", [] { expect(false, "as it should"); }, true};

}  // namespace
}  // namespace selftest

int main(int count, char** arguments) {
  int failed = 0, ran = 0;
  for (const selftest::Check* check : selftest::checks()) {
    if (count > 1 ? std::strcmp(arguments[1], check->name) != 0 : check->fatal) continue;
    ++ran;
    try {
      selftest::set_order(selftest::Order::forward);
      check->body();
      std::printf("ok      %s\n", check->name);
    } catch (const std::exception& error) {
      ++failed;
      std::printf("FAILED  %s: %s\n", check->name, error.what());
    }
    std::fflush(stdout);
  }
  std::printf("%d checks, %d failed\n", ran, failed);
  return ran == 0 ? 125 : failed;
}
