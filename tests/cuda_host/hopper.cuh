// What cuda/device/hopper.cuh has, on the host. Copies run when all threads wait, and products when
// their thread waits for them: as late as a kernel may hope for. Whole warpgroups must come to the
// matrix instructions, which read shared memory through their descriptors as the hardware does.
// Not checked: the fences, and the limits on registers.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>
#include <cstring>

#include "emulation/execution.h"

namespace striate::cuda::hopper {

constexpr int kTileBytes = 128;

struct Tf32 {
  using Element = float;
  static constexpr bool kRounded = true;  // by the copy engine
};
struct Bf16 {
  using Element = uint16_t;
  static constexpr bool kRounded = false;
};
template <class Operand>
constexpr int kTileDepth = kTileBytes / static_cast<int>(sizeof(typename Operand::Element));

// ---- Tensor maps.

struct TensorMap {
  const unsigned char* data;
  int64_t rows, columns, pitch;  // pitch in bytes
  int element_bytes, tile_rows;
  bool rounded;
};

template <class Operand>
cudaError_t make_tensor_map(TensorMap& map, const typename Operand::Element* data, int64_t rows,
                            int64_t columns, int64_t pitch, int tile_rows) {
  constexpr int kBytes = sizeof *data;
  const auto size = [](int64_t value) { return value > 0 && value <= int64_t{1} << 32; };
  if (reinterpret_cast<uintptr_t>(data) % 16 != 0 || pitch * kBytes % 16 != 0 || pitch < columns ||
      !size(rows) || !size(columns) || tile_rows < 1 || tile_rows > 256) {
    return cudaErrorInvalidValue;
  }
  map = {reinterpret_cast<const unsigned char*>(data),
         rows,
         columns,
         pitch * kBytes,
         kBytes,
         tile_rows,
         Operand::kRounded};
  return cudaSuccess;
}

// ---- Barriers.

struct alignas(8) Barrier {
  int32_t bytes;              // still awaited in this phase
  uint8_t arrivals, pending;  // of a phase; still to come
  uint8_t parity;             // of this phase
  uint8_t magic;

  static constexpr uint8_t kMagic = 0x5A;
  void expect_initialised() const {
    if (magic != kMagic) cuda_host::fault("a barrier is used before it is initialised");
  }
  void end_phase_if_complete() {
    if (pending == 0 && bytes == 0) parity ^= 1, pending = arrivals;
  }
};
static_assert(sizeof(Barrier) == sizeof(uint64_t));

inline unsigned shared_address(const void* pointer) {
  const auto* const start = static_cast<const unsigned char*>(cuda_host::shared_bytes(0));
  return static_cast<unsigned>(static_cast<const unsigned char*>(pointer) - start);
}

inline void initialise(Barrier& barrier, unsigned arrivals) {
  barrier = {0, static_cast<uint8_t>(arrivals), static_cast<uint8_t>(arrivals), 0, Barrier::kMagic};
}

inline void publish_barriers() {}

inline void arrive_expecting(Barrier& barrier, unsigned bytes) {
  barrier.expect_initialised();
  if (barrier.pending == 0) cuda_host::fault("more arrivals than a barrier's phase has");
  barrier.bytes += static_cast<int32_t>(bytes);
  --barrier.pending;
  barrier.end_phase_if_complete();
}

inline void arrive(Barrier& barrier) { arrive_expecting(barrier, 0); }

inline void wait(Barrier& barrier, unsigned parity,
                 cuda_host::Where where = cuda_host::Where::current()) {
  barrier.expect_initialised();
  cuda_host::wait_until([&] { return barrier.parity != parity; }, "barrier wait", where);
}

// ---- Copies.

inline uint32_t round_to_tf32(uint32_t bits) {
  if ((bits & 0x7f800000) == 0x7f800000) return bits;
  return (bits + 0xfff + (bits >> 13 & 1)) & ~uint32_t{0x1fff};
}

inline void copy_tile(unsigned char* tile, const TensorMap& map, int row, int column) {
  for (int r = 0; r < map.tile_rows; ++r) {
    for (int byte = 0; byte < kTileBytes; byte += map.element_bytes) {
      const int64_t from_row = int64_t{row} + r, from = int64_t{column} + byte / map.element_bytes;
      uint32_t bits = 0;
      if (from_row >= 0 && from_row < map.rows && from >= 0 && from < map.columns) {
        std::memcpy(&bits, map.data + from_row * map.pitch + from * map.element_bytes,
                    static_cast<std::size_t>(map.element_bytes));
      }
      if (map.rounded) bits = round_to_tf32(bits);
      const int swizzled = r * kTileBytes + (byte ^ r % 8 * 16);
      std::memcpy(tile + swizzled, &bits, static_cast<std::size_t>(map.element_bytes));
    }
  }
}

inline void load(void* tile, const TensorMap& map, Barrier& barrier, int row, int column) {
  barrier.expect_initialised();
  const int bytes = map.tile_rows * kTileBytes;
  if (shared_address(tile) % 1024 != 0) cuda_host::fault("a tile is not aligned to 1024 bytes");
  cuda_host::shared_bytes(shared_address(tile) + static_cast<std::size_t>(bytes));
  cuda_host::when_waiting([=, &barrier] {
    copy_tile(static_cast<unsigned char*>(tile), map, row, column);
    barrier.bytes -= bytes;
    barrier.end_phase_if_complete();
  });
}

// ---- Registers of a thread.

template <int kCount>
void leave_registers() {
  static_assert(kCount % 8 == 0 && kCount >= 24 && kCount <= 256);
  cuda_host::warpgroup_exchange(kCount);
}
template <int kCount>
void take_registers() {
  leave_registers<kCount>();
}

// ---- Matrix instructions.

template <int kCount>
void pin(float (&)[kCount]) {}

inline void begin_products() { cuda_host::warpgroup_exchange('f'); }

inline void commit_products() {
  cuda_host::warpgroup_exchange('c');
  cuda_host::async_commit();
}

template <int kPending>
void wait_for_products() {
  cuda_host::warpgroup_exchange('w');
  cuda_host::async_wait(kPending);
}

// An operand in shared memory: rows of 32 bytes, in groups of eight with the 128-byte swizzle.
class Matrix {
 public:
  explicit Matrix(uint64_t descriptor)
      : start_(static_cast<unsigned>(descriptor & 0x3fff) << 4),
        eight_rows_(static_cast<unsigned>(descriptor >> 32 & 0x3fff) << 4) {
    const bool swizzled = descriptor >> 62 == 1, whole = (descriptor >> 49 & 7) == 0;
    if (!swizzled || !whole || start_ % 1024 >= kTileBytes || eight_rows_ % 1024 != 0) {
      cuda_host::fault("a matrix descriptor that is not of a K-major tile with 128-byte swizzle");
    }
  }

  double at(Tf32, int row, int k) const {
    uint32_t bits = read<uint32_t>(row, k) & ~uint32_t{0x1fff};  // the hardware ignores the rest
    float value;
    std::memcpy(&value, &bits, sizeof value);
    return value;
  }
  double at(Bf16, int row, int k) const {
    const uint32_t bits = uint32_t{read<uint16_t>(row, k)} << 16;
    float value;
    std::memcpy(&value, &bits, sizeof value);
    return value;
  }

 private:
  template <class T>
  T read(int row, int k) const {
    unsigned address = start_ + static_cast<unsigned>(row) / 8 * eight_rows_ +
                       static_cast<unsigned>(row) % 8 * kTileBytes +
                       static_cast<unsigned>(k) * unsigned{sizeof(T)};
    address ^= (address >> 7 & 7) << 4;
    T value;
    std::memcpy(&value,
                static_cast<unsigned char*>(cuda_host::shared_bytes(address + sizeof(T))) + address,
                sizeof value);
    return value;
  }

  unsigned start_, eight_rows_;
};

// Every thread computes what it holds of the product.
template <class Operand, int kCount>
void multiply(float (&sum)[kCount], uint64_t a, uint64_t b) {
  struct Operands {
    uint64_t a, b;
  };
  const Operands* const all = cuda_host::warpgroup_exchange(Operands{a, b});
  for (int i = 1; i < 128; ++i) {
    if (all[i].a != all[0].a || all[i].b != all[0].b) {
      cuda_host::fault("the threads of a warpgroup multiply different matrices");
    }
  }
  const int rank = static_cast<int>(cuda_host::thread_rank());
  const int row = rank / 32 % 4 * 16 + rank % 32 / 4, column = rank % 4 * 2;
  cuda_host::async_issue([=, sum = &sum[0]] {
    constexpr int kDepth = 32 / static_cast<int>(sizeof(typename Operand::Element));
    const Matrix left(a), right(b);
    double rows[2][kDepth];
    for (int half = 0; half < 2; ++half) {
      for (int k = 0; k < kDepth; ++k) rows[half][k] = left.at(Operand{}, row + 8 * half, k);
    }
    for (int j = 0; j < kCount / 2; ++j) {
      double columns[kDepth], products[2] = {};
      for (int k = 0; k < kDepth; ++k) {
        columns[k] = right.at(Operand{}, j / 2 * 8 + column + j % 2, k);
        for (int half = 0; half < 2; ++half) products[half] += rows[half][k] * columns[k];
      }
      for (int half = 0; half < 2; ++half) {
        float& to = sum[j / 2 * 4 + 2 * half + j % 2];
        to = static_cast<float>(to + products[half]);
      }
    }
  });
}

}  // namespace striate::cuda::hopper
