// Bins of features: what jaxml/ops/bins_search.py does in XLA. Read jaxml/ops/bins.py for
// the meaning of the arrays and the rule of the quantiles.
//
// Values are sorted as integers in the order of the floats, by a radix sort of digits of
// 11 bits; the features share the threads. Sums of weights are in double precision.

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <limits>
#include <memory>
#include <vector>

#include "parallel.h"
#include "xla/ffi/api/ffi.h"

namespace ffi = xla::ffi;

template <ffi::DataType D>
using In = ffi::Buffer<D>;
template <ffi::DataType D>
using Out = ffi::Result<ffi::Buffer<D>>;

constexpr int kDigit = 11, kDigits = 1 << kDigit;
constexpr int64_t kBlock = 16;  // features read together: a cache line of floats

template <typename T>
struct Key;
template <>
struct Key<float> {
  using Bits = uint32_t;
};
template <>
struct Key<double> {
  using Bits = uint64_t;
};

// Unsigned integers that compare as floats; minus zero is zero, NaN is above infinity.
template <typename T>
static INLINE typename Key<T>::Bits ToBits(T value) {
  using Bits = typename Key<T>::Bits;
  constexpr Bits kSign = Bits(1) << (8 * sizeof(T) - 1);
  value = value + T(0);
  if (value != value) value = std::numeric_limits<T>::quiet_NaN();
  Bits raw;
  std::memcpy(&raw, &value, sizeof raw);
  return (raw & kSign) && value == value ? Bits(~raw) : Bits(raw | kSign);
}

template <typename T>
static INLINE T ToFloat(typename Key<T>::Bits bits) {
  using Bits = typename Key<T>::Bits;
  constexpr Bits kSign = Bits(1) << (8 * sizeof(T) - 1);
  const Bits raw = bits & kSign ? Bits(bits ^ kSign) : Bits(~bits);
  T value;
  std::memcpy(&value, &raw, sizeof raw);
  return value;
}

// A key, and a key with its weight.
template <typename T>
struct Plain {
  typename Key<T>::Bits bits;
};
template <typename T>
struct Weighted {
  typename Key<T>::Bits bits;
  T weight;
};

// A list whose memory is not written before its entries are.
template <typename Entry>
struct List {
  std::unique_ptr<Entry[]> data;
  int64_t size = 0;

  void Reserve(int64_t n) { data.reset(new Entry[n]); }
};

// Sorts by the keys; entries of one key keep their order. `spare` has room for as many.
template <typename Entry>
static void Sort(List<Entry>* list, List<Entry>* spare) {
  constexpr int kPasses = (8 * sizeof(Entry::bits) + kDigit - 1) / kDigit;
  const int64_t n = list->size;
  if (n < 2000) {
    std::stable_sort(list->data.get(), list->data.get() + n,
                     [](const Entry& a, const Entry& b) { return a.bits < b.bits; });
    return;
  }
  std::vector<uint32_t> counts(kPasses * kDigits, 0);
  for (int64_t i = 0; i < n; ++i) {
    const auto bits = list->data[i].bits;
    for (int pass = 0; pass < kPasses; ++pass) {
      ++counts[pass * kDigits + ((bits >> (pass * kDigit)) & (kDigits - 1))];
    }
  }
  for (int pass = 0; pass < kPasses; ++pass) {
    uint32_t* place = counts.data() + pass * kDigits;
    const int shift = pass * kDigit;
    const Entry* from = list->data.get();
    Entry* to = spare->data.get();
    if (place[(from[0].bits >> shift) & (kDigits - 1)] == n) continue;  // all the same
    uint32_t sum = 0;
    for (int digit = 0; digit < kDigits; ++digit) {
      const uint32_t size = place[digit];
      place[digit] = sum;
      sum += size;
    }
    for (int64_t i = 0; i < n; ++i) {
      to[place[(from[i].bits >> shift) & (kDigits - 1)]++] = from[i];
    }
    list->data.swap(spare->data);
  }
}

// Up to `most` + 1 distinct keys, in no order, by a hash table; the rest is not read.
template <typename Entry>
class Distinct {
 public:
  using Bits = decltype(Entry::bits);

  explicit Distinct(int64_t most) : most_(most), size_(16) {
    while (size_ < 4 * most) size_ *= 2;
    table_.assign(size_, 0);  // no key is 0: that would be a NaN with a sign
  }

  // The distinct keys, ascending; false where they are more than `most`.
  bool Collect(const List<Entry>& list, std::vector<Bits>* found) {
    int64_t count = 0;
    Bits last = 0;
    for (int64_t i = 0; i < list.size; ++i) {
      if (list.data[i].bits == last) continue;
      last = list.data[i].bits;
      uint64_t place = (uint64_t(last) * 0x9E3779B97F4A7C15u) >> 20;
      while (true) {
        Bits& slot = table_[place & (size_ - 1)];
        if (slot == last) break;
        if (slot == 0) {
          if (++count > most_) return false;
          slot = last;
          break;
        }
        ++place;
      }
    }
    for (Bits key : table_) {
      if (key) found->push_back(key);
    }
    std::sort(found->begin(), found->end());
    return true;
  }

 private:
  int64_t most_, size_;
  std::vector<Bits> table_;
};

// Weight of the entries before each place of a sorted list.
template <typename T>
struct Sums {
  explicit Sums(const List<Plain<T>>&) {}
  explicit Sums(const List<Weighted<T>>& list) : sums(list.size + 1, 0.0) {
    for (int64_t i = 0; i < list.size; ++i) sums[i + 1] = sums[i] + list.data[i].weight;
  }
  double operator()(int64_t i) const { return sums.empty() ? double(i) : sums[i]; }

  std::vector<double> sums;
};

// The first place in [0, n) for which a condition holds, and holds from there on.
template <typename F>
static int64_t First(int64_t n, const F& holds) {
  int64_t low = 0;
  while (n > 0) {
    const int64_t half = n / 2;
    if (holds(low + half)) {
      n = half;
    } else {
      low += half + 1;
      n -= half + 1;
    }
  }
  return low;
}

// Where the bins of a sorted list begin, by weighted quantiles (jaxml/ops/bins.py).
template <typename T, typename Entry>
static std::vector<int64_t> Quantiles(const List<Entry>& list, int64_t size) {
  struct Run {
    int64_t begin, end;
    double sum;  // weight of such runs up to the end of this one
  };
  const int64_t n = list.size, most = (size - 1) / 2;
  const Entry* data = list.data.get();
  const Sums<T> before(list);
  const double total = before(n);
  auto run = [&](int64_t i) {
    const auto bits = data[i].bits;
    const int64_t begin = First(i, [&](int64_t k) { return data[k].bits >= bits; });
    return Run{begin, i + First(n - i, [&](int64_t k) { return data[i + k].bits > bits; }), 0};
  };
  std::vector<int64_t> starts{0};
  std::vector<Run> alone;  // values with a bin of their own
  for (int64_t j = 1; j <= most; ++j) {
    const int64_t i =
        First(n, [&](int64_t k) { return before(k + 1) * (most + 1) >= total * j; });
    if (i == n || (!alone.empty() && i < alone.back().end)) continue;
    Run found = run(i);
    const double weight = before(found.end) - before(found.begin);
    if (!(weight * (most + 1) > total)) continue;
    found.sum = weight + (alone.empty() ? 0 : alone.back().sum);
    alone.push_back(found);
    starts.push_back(found.begin);
    starts.push_back(found.end);
  }
  auto light = [&](int64_t i) {  // weight before a place, of the other values
    const int64_t count = alone.size();
    const int64_t next = First(count, [&](int64_t k) { return alone[k].end > i; });
    const double sum = next ? alone[next - 1].sum : 0;
    const bool inside = next < count && alone[next].begin < i;
    return before(inside ? alone[next].begin : i) - sum;
  };
  const double rest = light(n);
  const int64_t parts = size - 2 * static_cast<int64_t>(alone.size());
  for (int64_t part = 1; part < parts; ++part) {
    const int64_t i = First(n, [&](int64_t k) { return light(k + 1) * parts > rest * part; });
    if (i == n) break;
    const Run middle = run(i);
    const double twice = light(middle.begin) + light(middle.end);
    starts.push_back(twice * parts >= 2 * rest * part ? middle.begin : middle.end);
  }
  std::sort(starts.begin(), starts.end());
  starts.erase(std::unique(starts.begin(), starts.end()), starts.end());
  if (starts.back() == n) starts.pop_back();
  return starts;
}

template <typename T, typename Entry>
static int64_t FindFeature(List<Entry>* list, List<Entry>* spare, int64_t size, T* low,
                           T* high) {
  std::vector<typename Key<T>::Bits> found;
  int64_t used = 0;
  if (Distinct<Entry>(size).Collect(*list, &found)) {
    for (auto bits : found) low[used] = high[used] = ToFloat<T>(bits), ++used;
  } else {
    Sort(list, spare);
    const std::vector<int64_t> starts = Quantiles<T>(*list, size);
    used = std::min<int64_t>(size, starts.size());
    for (int64_t b = 0; b < used; ++b) {
      const int64_t end = b + 1 < used ? starts[b + 1] : list->size;
      low[b] = ToFloat<T>(list->data[starts[b]].bits);
      high[b] = ToFloat<T>(list->data[end - 1].bits);
    }
  }
  std::fill(low + used, low + size, std::numeric_limits<T>::infinity());
  std::fill(high + used, high + size, std::numeric_limits<T>::infinity());
  return used;
}

// The present keys of `count` features, from `first` on, each in a list of its own.
template <typename T>
static void Gather(const T* x, const T*, int64_t n, int64_t d, int64_t first, int64_t count,
                   List<Plain<T>>* lists) {
  for (int64_t i = 0; i < n; ++i) {
    for (int64_t j = 0; j < count; ++j) {
      const T value = x[i * d + first + j];
      lists[j].data[lists[j].size] = {ToBits(value)};
      lists[j].size += value == value;
    }
  }
}

template <typename T>
static void Gather(const T* x, const T* weight, int64_t n, int64_t d, int64_t first,
                   int64_t count, List<Weighted<T>>* lists) {
  for (int64_t i = 0; i < n; ++i) {
    if (!(weight[i] > 0)) continue;
    for (int64_t j = 0; j < count; ++j) {
      const T value = x[i * d + first + j];
      lists[j].data[lists[j].size] = {ToBits(value), weight[i]};
      lists[j].size += value == value;
    }
  }
}

template <typename T, typename Entry>
static void FindAll(ffi::ThreadPool pool, const T* x, const T* weight, int64_t n, int64_t d,
                    int64_t size, T* low, T* high, int32_t* used) {
  // As many features at once as fill a cache line, and keep every thread busy.
  const int64_t share = (d + thread_count(pool) - 1) / thread_count(pool);
  const int64_t block = std::min(kBlock, share);
  parallel_for(pool, (d + block - 1) / block, [&](int64_t part) {
    const int64_t first = part * block, count = std::min(d - first, block);
    List<Entry> lists[kBlock], spare;
    spare.Reserve(n);
    for (int64_t j = 0; j < count; ++j) lists[j].Reserve(n);
    Gather(x, weight, n, d, first, count, lists);
    for (int64_t j = 0; j < count; ++j) {
      T *from = low + (first + j) * size, *to = high + (first + j) * size;
      used[first + j] =
          static_cast<int32_t>(FindFeature<T>(&lists[j], &spare, size, from, to));
      lists[j].data.reset();
    }
  });
}

template <ffi::DataType D>
static ffi::Error Find(ffi::ThreadPool pool, In<D> x, In<D> weight, Out<D> low, Out<D> high,
                       Out<ffi::DataType::S32> used) {
  using T = ffi::NativeType<D>;
  const int64_t n = x.dimensions()[0], d = x.dimensions()[1], size = low->dimensions()[1];
  const int64_t weights = weight.element_count();
  if ((weights != 0 && weights != n) || n >= (int64_t(1) << 31) || size < 2 ||
      low->dimensions()[0] != d || high->element_count() != low->element_count() ||
      static_cast<int64_t>(used->element_count()) != d) {
    return ffi::Error::InvalidArgument("bins_find: shapes do not match");
  }
  return guarded([&] {
    auto all = weights ? FindAll<T, Weighted<T>> : FindAll<T, Plain<T>>;
    all(pool, x.typed_data(), weight.typed_data(), n, d, size, low->typed_data(),
        high->typed_data(), used->typed_data());
    return ffi::Error::Success();
  });
}

template <ffi::DataType D>
static auto Bind() {
  return ffi::Ffi::Bind()
      .template Ctx<ffi::ThreadPool>()
      .template Arg<In<D>>()
      .template Arg<In<D>>()
      .template Ret<In<D>>()
      .template Ret<In<D>>()
      .template Ret<In<ffi::DataType::S32>>();
}

XLA_FFI_DEFINE_HANDLER_SYMBOL(bins_find_float32, Find<ffi::DataType::F32>,
                              Bind<ffi::DataType::F32>());
XLA_FFI_DEFINE_HANDLER_SYMBOL(bins_find_float64, Find<ffi::DataType::F64>,
                              Bind<ffi::DataType::F64>());
