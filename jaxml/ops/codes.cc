// Codes of values, their places among the cuts of a feature: what `_place` of
// jaxml/ops/bins.py does in XLA.

#include <algorithm>
#include <cstdint>
#include <limits>
#include <vector>

#include "parallel.h"
#include "xla/ffi/api/ffi.h"

namespace ffi = xla::ffi;

template <ffi::DataType D>
using In = ffi::Buffer<D>;

// Counts the cuts below each value: one binary search without branches for many values at
// a time. The values are those of whole rows, one row after the other; `start` says where
// in `table` the cuts of a value's feature lie.
template <typename T, typename Code>
static INLINE void Place(const T* x, const T* table, const int32_t* start, int64_t count,
                         int32_t size, Code missing, Code* out) {
  constexpr int64_t kChunk = 256;
  int32_t place[kChunk];
  for (int64_t begin = 0; begin < count; begin += kChunk) {
    const int64_t m = std::min(kChunk, count - begin);
    const T* values = x + begin;
    const int32_t* from = start + begin;
#pragma omp simd
    for (int64_t i = 0; i < m; ++i) place[i] = from[i];
    for (int32_t step = size / 2; step; step /= 2) {
      const T* probe = table + step - 1;
#pragma omp simd
      for (int64_t i = 0; i < m; ++i) {
        place[i] += values[i] > probe[place[i]] ? step : 0;
      }
    }
#pragma omp simd
    for (int64_t i = 0; i < m; ++i) {
      const Code code = static_cast<Code>(place[i] - from[i]);
      out[begin + i] = values[i] == values[i] ? code : missing;
    }
  }
}

#define PLACE(Name, T, Code)                                                              \
  CLONES static void Name(const T* x, const T* table, const int32_t* start, int64_t count, \
                          int32_t size, Code missing, Code* out) {                        \
    Place(x, table, start, count, size, missing, out);                                    \
  }
PLACE(PlaceFloatByte, float, uint8_t)
PLACE(PlaceFloatWord, float, uint16_t)
PLACE(PlaceDoubleByte, double, uint8_t)
PLACE(PlaceDoubleWord, double, uint16_t)
static auto Placer(float, uint8_t) { return PlaceFloatByte; }
static auto Placer(float, uint16_t) { return PlaceFloatWord; }
static auto Placer(double, uint8_t) { return PlaceDoubleByte; }
static auto Placer(double, uint16_t) { return PlaceDoubleWord; }

template <typename T, typename Code>
static void CodeAll(ffi::ThreadPool pool, const T* cuts, const T* x, int64_t n, int64_t d,
                    int64_t last, Code* out) {
  int32_t size = 1;
  while (size <= last) size *= 2;
  std::vector<T> table(d * size, std::numeric_limits<T>::infinity());
  for (int64_t j = 0; j < d; ++j) {
    std::copy(cuts + j * last, cuts + (j + 1) * last, table.begin() + j * size);
  }
  const int64_t rows = std::max<int64_t>(1, 2048 / d);  // placed by one call
  std::vector<int32_t> start(rows * d);
  for (int64_t i = 0; i < rows * d; ++i) start[i] = static_cast<int32_t>(i % d * size);
  const auto place = Placer(T(), Code());
  parallel_range(pool, n, 4 * rows, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; i += rows) {
      const int64_t count = std::min(rows, end - i) * d;
      place(x + i * d, table.data(), start.data(), count, size, static_cast<Code>(last + 1),
            out + i * d);
    }
  });
}

template <ffi::DataType D>
static ffi::Error Codes(ffi::ThreadPool pool, In<D> cuts, In<D> x,
                        ffi::Result<ffi::AnyBuffer> codes) {
  const int64_t n = x.dimensions()[0], d = x.dimensions()[1], last = cuts.dimensions()[1];
  const bool bytes = codes->element_type() == ffi::DataType::U8;
  if (cuts.dimensions()[0] != d || last >= (bytes ? 255 : 65535) ||
      (!bytes && codes->element_type() != ffi::DataType::U16) ||
      static_cast<int64_t>(codes->element_count()) != n * d || d * last >= (1 << 29)) {
    return ffi::Error::InvalidArgument("codes: shapes do not match");
  }
  return guarded([&] {
    if (bytes) {
      CodeAll(pool, cuts.typed_data(), x.typed_data(), n, d, last,
              codes->typed_data<uint8_t>());
    } else {
      CodeAll(pool, cuts.typed_data(), x.typed_data(), n, d, last,
              codes->typed_data<uint16_t>());
    }
    return ffi::Error::Success();
  });
}

template <ffi::DataType D>
static auto Bind() {
  return ffi::Ffi::Bind()
      .template Ctx<ffi::ThreadPool>()
      .template Arg<In<D>>()
      .template Arg<In<D>>()
      .template Ret<ffi::AnyBuffer>();
}

XLA_FFI_DEFINE_HANDLER_SYMBOL(codes_float32, Codes<ffi::DataType::F32>,
                              Bind<ffi::DataType::F32>());
XLA_FFI_DEFINE_HANDLER_SYMBOL(codes_float64, Codes<ffi::DataType::F64>,
                              Bind<ffi::DataType::F64>());
