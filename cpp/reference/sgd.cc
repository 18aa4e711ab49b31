#include "striate/sgd.h"

namespace striate::reference {

template <class T>
void sgd_step(const SgdTensor<T>* tensors, int64_t count, const SgdOptions& o) {
  for (int64_t k = 0; k < count; ++k) {
    const SgdTensor<T>& t = tensors[k];
    for (int64_t i = 0; i < t.n; ++i) {
      double g = o.maximize ? -t.dw[i] : t.dw[i];
      if (o.weight_decay != 0) g += o.weight_decay * t.w[i];
      double step = g;
      if (t.v != nullptr) {
        const double v = t.first ? g : o.momentum * t.v[i] + (1 - o.dampening) * g;
        t.v[i] = static_cast<T>(v);
        step = o.nesterov ? g + o.momentum * v : v;
      }
      t.w[i] = static_cast<T>(t.w[i] - o.lr * step);
    }
  }
}

template void sgd_step(const SgdTensor<float>*, int64_t, const SgdOptions&);
template void sgd_step(const SgdTensor<double>*, int64_t, const SgdOptions&);

}  // namespace striate::reference
