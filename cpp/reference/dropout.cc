#include "striate/dropout.h"

namespace striate::reference {

// Salmon, Moraes, Dror, Shaw: Parallel random numbers: as easy as 1, 2, 3 (2011), section 4.3.
void philox4x32_10(uint32_t words[4], const uint32_t counter[4], const uint32_t key[2]) {
  uint32_t a = counter[0], b = counter[1], c = counter[2], d = counter[3];
  uint32_t k0 = key[0], k1 = key[1];
  for (int round = 0; round < 10; ++round) {
    const uint64_t p0 = uint64_t{0xD2511F53} * a, p1 = uint64_t{0xCD9E8D57} * c;
    a = static_cast<uint32_t>(p1 >> 32) ^ b ^ k0;
    b = static_cast<uint32_t>(p1);
    c = static_cast<uint32_t>(p0 >> 32) ^ d ^ k1;
    d = static_cast<uint32_t>(p0);
    k0 += 0x9E3779B9;  // the golden ratio
    k1 += 0xBB67AE85;  // sqrt(3) - 1
  }
  words[0] = a, words[1] = b, words[2] = c, words[3] = d;
}

template <class T>
void dropout(T* y, const T* x, int64_t n, double p, const DropoutKey& key, int64_t offset) {
  const uint32_t seed[2] = {static_cast<uint32_t>(key.seed), static_cast<uint32_t>(key.seed >> 32)};
  const T scale = static_cast<T>(1 / (1 - p));
  for (int64_t j = 0; j < n; ++j) {
    const int64_t i = offset + j;
    const uint32_t counter[4] = {static_cast<uint32_t>(i / 4), key.call, key.step, 0};
    uint32_t words[4];
    philox4x32_10(words, counter, seed);
    const bool keep = words[i % 4] >= static_cast<uint64_t>(p * 4294967296.0);
    y[j] = keep ? x[j] * scale : T(0);
  }
}

template void dropout(float*, const float*, int64_t, double, const DropoutKey&, int64_t);
template void dropout(double*, const double*, int64_t, double, const DropoutKey&, int64_t);

}  // namespace striate::reference
