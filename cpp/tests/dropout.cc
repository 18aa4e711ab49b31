#include "striate/dropout.h"

#include "tests/case.h"

namespace striate::tests {

void dropout(Case& test) {
  const int64_t n = test.one_of<int64_t>({0, 1, 7, 100, 70001});
  const int64_t offset = test.one_of<int64_t>({0, 5, (int64_t{1} << 34) - 70001});
  const double p = test.one_of({0.0, 0.25, 0.5, 0.9});
  const DropoutKey key{.seed = static_cast<uint64_t>(test.integer(0, INT64_MAX)),
                       .call = static_cast<uint32_t>(test.integer(0, UINT32_MAX)),
                       .step = static_cast<uint32_t>(test.integer(0, UINT32_MAX))};
  const float* x = test.normal(n);
  STRIATE_EXPECT_SAME(test, n, 0, dropout(out, x, n, p, key, offset));
}

}  // namespace striate::tests
