// Rows walk decision trees: what `_walk` of jaxml/ops/trees.py does in XLA. Read that file
// for the meaning of the arrays.
//
// A tree is packed into nodes of 8 bytes (more where it is large, or in float64) whose right
// child follows the left one, and whose leaves lead to themselves. Some rows go down a tree
// side by side: the steps of different rows do not depend on each other, so that the
// processor has many in flight. The values of a row are added in the order of the trees,
// whatever the number of threads.

#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <string>
#include <vector>

#include "parallel.h"
#include "trees.h"
#include "xla/ffi/api/ffi.h"

namespace ffi = xla::ffi;

constexpr uint8_t kMissingRight = 1, kSet = 2;
constexpr int kAbreast = 16;     // rows side by side
constexpr int kFlat = 10;        // deeper trees drop the rows that have arrived
constexpr int kBetween = 4;      // steps from one look at who has arrived to the next
constexpr int64_t kShort = 256;  // rows of a block where the trees fit the cache,
constexpr int64_t kLong = 2048;  // and where each tree is to be fetched for many rows

template <typename T, typename Index>
struct Node {
  T threshold;
  Index feature;
  Index left;
};

template <typename T, typename Index>
struct Packed {
  std::vector<Node<T, Index>> nodes;
  std::vector<uint8_t> flags;
  std::vector<int32_t> origin;  // where a node lies in the arrays
  int depth = 0;
  bool sets = false;
  std::string error;
};

template <typename T, typename Index>
static void Pack(const Trees<T>& trees, int64_t j, Packed<T, Index>& packed) {
  struct Todo {
    int32_t from, to, depth;
  };
  std::vector<Todo> todo{{0, 0, 0}};
  const auto resize = [&](int32_t size) {
    packed.nodes.resize(size);
    packed.flags.resize(size);
    packed.origin.resize(size);
  };
  resize(1);
  while (!todo.empty()) {
    const auto [from, to, depth] = todo.back();
    todo.pop_back();
    const int64_t at = j * trees.m + from;
    packed.depth = std::max<int>(packed.depth, depth);
    packed.origin[to] = from;
    if (trees.children_left[at] < 0) {
      packed.nodes[to] = {std::numeric_limits<T>::infinity(), 0, static_cast<Index>(to)};
      continue;
    }
    packed.error = Wrong(trees, j, from);
    const int32_t left = static_cast<int32_t>(packed.nodes.size());
    if (packed.error.empty() && left + 2 > trees.m) {
      packed.error = "tree " + std::to_string(j) + " has nodes with several parents";
    }
    if (!packed.error.empty()) return;
    T threshold = trees.threshold[at];
    if (std::isnan(threshold)) threshold = -std::numeric_limits<T>::infinity();
    packed.nodes[to] = {threshold, static_cast<Index>(trees.feature[at]),
                        static_cast<Index>(left)};
    if (!trees.missing[at]) packed.flags[to] |= kMissingRight;
    if (trees.w > 0 && trees.categorical[at]) {
      packed.flags[to] |= kSet;
      packed.sets = true;
    }
    resize(left + 2);
    todo.push_back({trees.children_right[at], left + 1, depth + 1});
    todo.push_back({trees.children_left[at], left, depth + 1});
  }
}

enum Kind { kPlain, kMissing, kSets };  // what the values and the nodes may be

// One step of a row from node `i`, which is `node`.
template <int kind, typename T, typename Index>
static INLINE uint32_t Step(const Trees<T>& trees, int64_t base,
                            const Packed<T, Index>& packed, const Node<T, Index> node,
                            const T* row, uint32_t i) {
  const T value = row[node.feature];
  if (kind == kPlain) return node.left + (value > node.threshold);
  const uint8_t flags = packed.flags[i];
  const bool missing = value != value;
  bool right = (value > node.threshold) | (missing & bool(flags & kMissingRight));
  if (kind == kSets && (flags & kSet) && !missing) {
    right = SetGoesRight(trees, base + packed.origin[i], value);
  }
  return node.left + right;
}

// Takes `steps` steps with n rows: all of them, after a first step from the root, or the
// rows `active` from where they stand.
template <int kind, bool all, typename T, typename Index>
static INLINE void Go(const Trees<T>& trees, int64_t base, const Packed<T, Index>& packed,
                      const T* x, int32_t n, int steps, const int32_t* active,
                      uint32_t* place) {
  const int64_t d = trees.d;
  const Node<T, Index>* nodes = packed.nodes.data();
  const Node<T, Index> first = nodes[0];
  const auto start = [&](int32_t r, const T* from) {
    return all ? Step<kind>(trees, base, packed, first, from, 0) : place[r];
  };
  int32_t a = 0;
  for (; a + kAbreast <= n; a += kAbreast) {
    uint32_t here[kAbreast];
    const T* from[kAbreast];
#pragma GCC unroll 16
    for (int u = 0; u < kAbreast; ++u) {
      const int32_t r = all ? a + u : active[a + u];
      from[u] = x + r * d;
      here[u] = start(r, from[u]);
    }
    for (int step = 0; step < steps; ++step) {
#pragma GCC unroll 16
      for (int u = 0; u < kAbreast; ++u) {
        here[u] = Step<kind>(trees, base, packed, nodes[here[u]], from[u], here[u]);
      }
    }
#pragma GCC unroll 16
    for (int u = 0; u < kAbreast; ++u) place[all ? a + u : active[a + u]] = here[u];
  }
  for (; a < n; ++a) {
    const int32_t r = all ? a : active[a];
    const T* from = x + r * d;
    uint32_t here = start(r, from);
    for (int step = 0; step < steps; ++step) {
      here = Step<kind>(trees, base, packed, nodes[here], from, here);
    }
    place[r] = here;
  }
}

// Leaves of `n` rows in one tree, numbered as they are packed, in `place`; `active` is room.
template <int kind, typename T, typename Index>
static INLINE void Walk(const Trees<T>& trees, int64_t base, const Packed<T, Index>& packed,
                        const T* x, int32_t n, uint32_t* place, int32_t* active) {
  const int steps = packed.depth <= kFlat ? packed.depth - 1 : kFlat - kBetween;
  Go<kind, true>(trees, base, packed, x, n, steps, active, place);
  if (packed.depth <= kFlat) return;
  for (int32_t r = 0; r < n; ++r) active[r] = r;
  for (int32_t walking = n; walking > 0;) {
    int32_t still = 0;
    for (int32_t a = 0; a < walking; ++a) {
      const int32_t r = active[a];
      active[still] = r;
      still += packed.nodes[place[r]].left != place[r];
    }
    walking = still;
    Go<kind, false>(trees, base, packed, x, walking, kBetween, active, place);
  }
}

// A function for each kind of rows and trees, so that it is compiled only once.
#define WALK(kind, T, Index)                                                             \
  CLONES static void Walk_##kind(const Trees<T>& trees, int64_t base,                     \
                                const Packed<T, Index>& packed, const T* x, int32_t n,   \
                                uint32_t* place, int32_t* active) {                      \
    Walk<kind>(trees, base, packed, x, n, place, active);                                \
  }
#define WALKS(T, Index) WALK(kPlain, T, Index) WALK(kMissing, T, Index) WALK(kSets, T, Index)
WALKS(float, uint16_t)
WALKS(float, uint32_t)
WALKS(double, uint32_t)

template <typename T>
static bool HasMissing(const T* x, int64_t size) {
  int32_t count = 0;
  for (int64_t i = 0; i < size; ++i) count += x[i] != x[i];
  return count > 0;
}

// Leaves of a block of rows in tree after tree, for use(tree, origin, place).
template <typename T, typename Index, typename F>
static void WalkAll(const Trees<T>& trees, const std::vector<Packed<T, Index>>& packed,
                    const T* x, int64_t n, const F& use) {
  std::vector<uint32_t> place(n);
  std::vector<int32_t> active(n);
  const bool missing = HasMissing(x, n * trees.d);
  for (int64_t j = 0; j < trees.t; ++j) {
    const int64_t base = j * trees.m;
    const int32_t rows = static_cast<int32_t>(n);
    if (packed[j].sets) {
      Walk_kSets(trees, base, packed[j], x, rows, place.data(), active.data());
    } else if (missing) {
      Walk_kMissing(trees, base, packed[j], x, rows, place.data(), active.data());
    } else {
      Walk_kPlain(trees, base, packed[j], x, rows, place.data(), active.data());
    }
    use(j, packed[j].origin.data(), place.data());
  }
}

// Adds the values of the leaves: tree j has the columns of j modulo `columns`.
template <typename T, typename Index>
static void SumBlock(const Trees<T>& trees, const std::vector<Packed<T, Index>>& packed,
                     const T* x, int64_t n, const T* value, int64_t columns, int64_t k,
                     T* out) {
  const int64_t width = columns * k;
  WalkAll(trees, packed, x, n, [&](int64_t j, const int32_t* origin, const uint32_t* place) {
    T* to = out + (j % columns) * k;
    const T* from = value + j * trees.m * k;
    if (k == 1) {
      for (int64_t r = 0; r < n; ++r) to[r * width] += from[origin[place[r]]];
    } else {
      for (int64_t r = 0; r < n; ++r) {
        const T* leaf = from + origin[place[r]] * k;
        for (int64_t q = 0; q < k; ++q) to[r * width + q] += leaf[q];
      }
    }
  });
}

template <typename T, typename Index>
static void LeafBlock(const Trees<T>& trees, const std::vector<Packed<T, Index>>& packed,
                      const T* x, int64_t n, int32_t* out) {
  WalkAll(trees, packed, x, n, [&](int64_t j, const int32_t* origin, const uint32_t* place) {
    for (int64_t r = 0; r < n; ++r) out[r * trees.t + j] = origin[place[r]];
  });
}

// Leaf of one row in a tree that is not packed; -1 if the tree is broken.
template <typename T>
static int64_t Descend(const Trees<T>& trees, int64_t j, const T* row, std::string* error) {
  int64_t i = 0;
  for (int64_t steps = 0; steps < trees.m; ++steps) {
    const int64_t at = j * trees.m + i;
    if (trees.children_left[at] < 0) return i;
    *error = Wrong(trees, j, i);
    if (!error->empty()) return -1;
    const bool right = Right(trees, at, row[trees.feature[at]]);
    i = right ? trees.children_right[at] : trees.children_left[at];
  }
  *error = "tree " + std::to_string(j) + " has a circle";
  return -1;
}

// Packs all trees and calls `block(packed, from, to)` on blocks of rows.
template <typename Index, typename T, typename Block>
static ffi::Error RunPacked(ffi::ThreadPool pool, const Trees<T>& trees, int64_t n,
                            const Block& block) {
  std::vector<Packed<T, Index>> packed(trees.t);
  parallel_for(pool, trees.t, [&](int64_t j) { Pack(trees, j, packed[j]); });
  size_t bytes = 0;
  for (const auto& tree : packed) {
    if (!tree.error.empty()) return ffi::Error::InvalidArgument(tree.error);
    bytes += tree.nodes.size() * sizeof(Node<T, Index>);
  }
  const int64_t most = bytes < (size_t(1) << 18) ? kShort : kLong;
  const int64_t share = (n + thread_count(pool) - 1) / thread_count(pool);
  const int64_t size = std::max<int64_t>(1, std::min(most, share));
  parallel_for(pool, (n + size - 1) / size, [&](int64_t part) {
    block(packed, part * size, std::min(n, (part + 1) * size));
  });
  return ffi::Error::Success();
}

// Packs trees where there are rows enough to pay for it, for `block`; or else calls
// `one(tree, row, leaf)`, trees in order for each row.
template <typename T, typename Block, typename One>
static ffi::Error Run(ffi::ThreadPool pool, const Trees<T>& trees, const T* x, int64_t n,
                      const Block& block, const One& one) {
  if (n >= trees.m / 16) {
    if constexpr (sizeof(T) == 4) {
      const int64_t most = std::numeric_limits<uint16_t>::max();
      if (std::max(trees.m, trees.d) <= most) {
        return RunPacked<uint16_t>(pool, trees, n, block);
      }
    }
    return RunPacked<uint32_t>(pool, trees, n, block);
  }
  std::string error;
  for (int64_t r = 0; r < n; ++r) {
    for (int64_t j = 0; j < trees.t; ++j) {
      const int64_t leaf = Descend(trees, j, x + r * trees.d, &error);
      if (leaf < 0) return ffi::Error::InvalidArgument(error);
      one(j, r, leaf);
    }
  }
  return ffi::Error::Success();
}

template <ffi::DataType D>
static ffi::Error Sum(ffi::ThreadPool pool, Ints left, Ints right, Ints feature,
                      In<D> threshold, Bools missing, Bools categorical, Words categories,
                      Bools other, In<D> value, In<D> x, Out<D> out, int32_t columns) {
  using T = ffi::NativeType<D>;
  return guarded([&] {
    const auto trees = View<D>(left, right, feature, threshold, missing, categorical,
                               categories, other, x);
    const T *rows = x.typed_data(), *values = value.typed_data();
    const int64_t n = x.dimensions()[0], k = value.dimensions()[2], width = columns * k;
    T* sums = out->typed_data();
    std::memset(sums, 0, n * width * sizeof(T));
    return Run(
        pool, trees, rows, n,
        [&](const auto& packed, int64_t from, int64_t to) {
          SumBlock(trees, packed, rows + from * trees.d, to - from, values, columns, k,
                   sums + from * width);
        },
        [&](int64_t j, int64_t r, int64_t leaf) {
          T* column = sums + r * width + (j % columns) * k;
          for (int64_t q = 0; q < k; ++q) column[q] += values[(j * trees.m + leaf) * k + q];
        });
  });
}

template <ffi::DataType D>
static ffi::Error Leaves(ffi::ThreadPool pool, Ints left, Ints right, Ints feature,
                         In<D> threshold, Bools missing, Bools categorical,
                         Words categories, Bools other, In<D> value, In<D> x,
                         Out<ffi::DataType::S32> out) {
  using T = ffi::NativeType<D>;
  return guarded([&] {
    const auto trees = View<D>(left, right, feature, threshold, missing, categorical,
                               categories, other, x);
    const T* rows = x.typed_data();
    int32_t* leaves = out->typed_data();
    return Run(
        pool, trees, rows, x.dimensions()[0],
        [&](const auto& packed, int64_t from, int64_t to) {
          LeafBlock(trees, packed, rows + from * trees.d, to - from,
                    leaves + from * trees.t);
        },
        [&](int64_t j, int64_t r, int64_t leaf) { leaves[r * trees.t + j] = leaf; });
  });
}

template <ffi::DataType D>
static auto BindSum() {
  return BindTrees<D>().template Arg<In<D>>().template Ret<In<D>>().template Attr<int32_t>(
      "columns");
}

template <ffi::DataType D>
static auto BindLeaves() {
  return BindTrees<D>().template Arg<In<D>>().template Ret<Ints>();
}

XLA_FFI_DEFINE_HANDLER_SYMBOL(trees_sum_float32, Sum<ffi::DataType::F32>,
                              BindSum<ffi::DataType::F32>());
XLA_FFI_DEFINE_HANDLER_SYMBOL(trees_sum_float64, Sum<ffi::DataType::F64>,
                              BindSum<ffi::DataType::F64>());
XLA_FFI_DEFINE_HANDLER_SYMBOL(trees_leaves_float32, Leaves<ffi::DataType::F32>,
                              BindLeaves<ffi::DataType::F32>());
XLA_FFI_DEFINE_HANDLER_SYMBOL(trees_leaves_float64, Leaves<ffi::DataType::F64>,
                              BindLeaves<ffi::DataType::F64>());
