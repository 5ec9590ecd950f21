// Shapley values of the features for the sum of trees, given which way the training rows
// went: what `_values` of jaxml/models/classical/tree_shap.py does in XLA. Read that file
// for the meaning of the arrays and the equations.
//
// A block of rows goes down a tree side by side. On the way down each node gets the
// products of the factors of the features above it, at every point t of the quadrature;
// on the way up the leaves' products times values are summed, and each split feature takes
// its share of what lies below. All in double precision.

#include <cmath>
#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include "parallel.h"
#include "trees.h"
#include "xla/ffi/api/ffi.h"

namespace ffi = xla::ffi;

constexpr int kRows = 16;  // rows side by side: two registers of the widest machines

// A node that a row may reach, with the edge that leads to it. Nodes lie in depth-first
// order; `above` is the depth of the last edge of the same feature, 0 where there is none.
struct Spot {
  int32_t node, depth, above;
  int32_t feature;  // that the edge asks for
  bool right;       // which side of its parent it is
  bool leaf;
  double share;  // of the training rows that go along all edges of this feature so far
};

struct Way {
  std::vector<Spot> spots;
  int32_t depth = 0;
  int32_t points = 1;  // of the quadrature
  std::string error;
};

template <typename T>
static void Unfold(const Trees<T>& trees, const T* cover, int64_t j, Way& way) {
  struct Todo {
    int32_t node, parent, depth;
    bool right;
  };
  std::vector<Todo> todo{{0, -1, 0, false}};
  std::vector<int32_t> path;     // places of the spots from the root
  std::vector<int32_t> features{0};  // different features down to each depth
  int32_t most = 1;
  while (!todo.empty()) {
    const Todo next = todo.back();
    todo.pop_back();
    const int64_t at = j * trees.m + next.node;
    Spot spot = {next.node, next.depth, 0, -1, next.right, trees.children_left[at] < 0, 1.0};
    path.resize(next.depth);
    features.resize(next.depth + 1);
    if (next.parent >= 0) {
      const int64_t parent = j * trees.m + next.parent;
      spot.feature = trees.feature[parent];
      spot.share = cover[parent] > 0 ? double(cover[at]) / double(cover[parent]) : 0;
      features[next.depth] = features[next.depth - 1] + 1;
      for (int32_t depth = next.depth - 1; depth > 0; --depth) {
        const Spot& old = way.spots[path[depth]];
        if (old.feature != spot.feature) continue;
        spot.above = depth;
        spot.share *= old.share;
        --features[next.depth];
        break;
      }
    }
    most = std::max(most, features[next.depth]);
    way.depth = std::max(way.depth, next.depth);
    path.push_back(static_cast<int32_t>(way.spots.size()));
    way.spots.push_back(spot);
    if (spot.leaf) continue;
    way.error = Wrong(trees, j, next.node);
    if (way.error.empty() && int64_t(way.spots.size()) >= trees.m) {
      way.error = "tree " + std::to_string(j) + " has nodes with several parents";
    }
    if (!way.error.empty()) return;
    todo.push_back({trees.children_right[at], next.node, next.depth + 1, true});
    todo.push_back({trees.children_left[at], next.node, next.depth + 1, false});
  }
  way.points = (most + 1) / 2;
}

// Points and weights on [0, 1], exact for polynomials of degree 2 size - 1.
struct Quadrature {
  std::vector<double> point, weight;

  explicit Quadrature(int size) : point(size), weight(size) {
    for (int i = 0; i < size; ++i) {
      double z = std::cos(std::acos(-1.0) * (i + 0.75) / (size + 0.5)), slope = 1;
      for (int round = 0; round < 100; ++round) {  // Newton, from close by
        double here = 1, before = 0;
        for (int n = 1; n <= size; ++n) {
          const double next = ((2 * n - 1) * z * here - (n - 1) * before) / n;
          before = here;
          here = next;
        }
        slope = size * (z * here - before) / (z * z - 1);
        const double step = here / slope;
        z -= step;
        if (std::fabs(step) < 1e-15) break;
      }
      point[i] = 0.5 * (1 - z);
      weight[i] = 1 / ((1 - z * z) * slope * slope);
    }
  }
};

// Room for one block of rows at every depth, and the spot that is open there; `points` is
// the most of any tree. At depth 0 stands what an edge without another above it takes.
struct Room {
  std::vector<int32_t> open;
  std::vector<double> one, side, product, inverse, rate, below;
  Room(int64_t depths, int64_t points, int64_t k)
      : open(depths),
        one(depths * kRows, 1.0),
        side(depths * kRows),
        product(depths * points * kRows, 1.0),
        inverse(depths * points * kRows, 1.0),
        rate(depths * points * kRows),
        below(depths * k * points * kRows) {}
};

// Adds the values of one tree to `phi` [d, width, rows], at the columns from `column` on.
template <typename T>
static INLINE void AddTree(const Trees<T>& trees, int64_t j, const Way& way,
                           const Quadrature& rule, const T* value, int64_t k, const T* x,
                           int64_t n, int64_t width, int64_t column, Room& room,
                           double* phi) {
  const int64_t points = way.points, plane = points * kRows;
  // Trees with fewer points leave other things behind depth 0.
  std::fill_n(room.product.begin(), plane, 1.0);
  std::fill_n(room.inverse.begin(), plane, 1.0);
  std::fill_n(room.rate.begin(), plane, 0.0);
  for (size_t s = 0; s < way.spots.size(); ++s) {
    const Spot& spot = way.spots[s];
    const int64_t at = j * trees.m + spot.node, h = spot.depth;
    double* product = &room.product[h * plane];
    room.open[h] = static_cast<int32_t>(s);
    if (h > 0) {
      const double *side = &room.side[(h - 1) * kRows], *old = &room.one[spot.above * kRows];
      double* one = &room.one[h * kRows];  // 1 for a row that goes along
      for (int r = 0; r < kRows; ++r) one[r] = old[r] * (spot.right ? side[r] : 1 - side[r]);
      for (int64_t q = 0; q < points; ++q) {
        const double t = rule.point[q], off = spot.share * (1 - t), on = off + t;
        const double no_off = off > 0 ? 1 / off : 0, no_on = 1 / on;
        const double rate_off = -spot.share * no_off, rate_on = (1 - spot.share) * no_on;
        const double* parent = &room.product[(h - 1) * plane + q * kRows];
        const double* undo = &room.inverse[spot.above * plane + q * kRows];
        double *here = product + q * kRows, *inverse = &room.inverse[h * plane + q * kRows];
        double* rate = &room.rate[h * plane + q * kRows];
        for (int r = 0; r < kRows; ++r) {
          here[r] = parent[r] * (one[r] > 0 ? on : off) * undo[r];
          inverse[r] = one[r] > 0 ? no_on : no_off;
          rate[r] = one[r] > 0 ? rate_on : rate_off;
        }
      }
    }
    double* below = &room.below[h * k * plane];
    if (spot.leaf) {
      for (int64_t c = 0; c < k; ++c) {
        const double leaf = value[at * k + c];
        for (int64_t i = 0; i < plane; ++i) below[c * plane + i] = leaf * product[i];
      }
    } else {
      const T* column_of_x = x + trees.feature[at];
      double* side = &room.side[h * kRows];
      for (int64_t r = 0; r < kRows; ++r) {
        side[r] = r < n ? Right(trees, at, column_of_x[r * trees.d]) : 0;
      }
      for (int64_t i = 0; i < k * plane; ++i) below[i] = 0;
      continue;
    }
    // Close what ends here: this leaf, and the nodes of which it is the last.
    const int64_t next = s + 1 < way.spots.size() ? way.spots[s + 1].depth : 0;
    for (int64_t depth = h; depth >= std::max<int64_t>(next, 1); --depth) {
      const Spot& done = way.spots[room.open[depth]];
      const double* rate = &room.rate[depth * plane];
      const double* old = &room.rate[done.above * plane];  // zeros where there is none
      for (int64_t c = 0; c < k; ++c) {
        const double* sum = &room.below[(depth * k + c) * plane];
        double* up = &room.below[((depth - 1) * k + c) * plane];
        double share[kRows] = {};
        for (int64_t q = 0; q < points; ++q) {
          const double weight = rule.weight[q];
          const int64_t i = q * kRows;
          for (int r = 0; r < kRows; ++r) {
            share[r] += weight * sum[i + r] * (rate[i + r] - old[i + r]);
            up[i + r] += sum[i + r];
          }
        }
        double* total = phi + (done.feature * width + column + c) * kRows;
        for (int r = 0; r < kRows; ++r) total[r] += share[r];
      }
    }
  }
}

template <typename T>
CLONES static void Block(const Trees<T>& trees, const std::vector<Way>& ways,
                         const std::vector<Quadrature>& rules, const T* value, int64_t k,
                         const T* x, int64_t n, int64_t columns, Room& room, double* phi) {
  for (int64_t j = 0; j < trees.t; ++j) {
    AddTree(trees, j, ways[j], rules[ways[j].points], value, k, x, n, columns * k,
            (j % columns) * k, room, phi);
  }
}

template <ffi::DataType D>
static ffi::Error Shap(ffi::ThreadPool pool, Ints left, Ints right, Ints feature,
                       In<D> threshold, Bools missing, Bools categorical, Words categories,
                       Bools other, In<D> value, In<D> cover, In<D> x, Out<D> out,
                       int32_t columns) {
  using T = ffi::NativeType<D>;
  return guarded([&] {
    const auto trees = View<D>(left, right, feature, threshold, missing, categorical,
                               categories, other, x);
    const int64_t n = x.dimensions()[0], d = trees.d, k = value.dimensions()[2];
    const int64_t width = columns * k;
    std::vector<Way> ways(trees.t);
    parallel_for(pool, trees.t,
                 [&](int64_t j) { Unfold(trees, cover.typed_data(), j, ways[j]); });
    int32_t depth = 0, points = 1;
    for (const Way& way : ways) {
      if (!way.error.empty()) return ffi::Error::InvalidArgument(way.error);
      depth = std::max(depth, way.depth);
      points = std::max(points, way.points);
    }
    std::vector<Quadrature> rules;
    for (int size = 0; size <= points; ++size) rules.emplace_back(size);
    T* shares = out->typed_data();
    parallel_range(pool, (n + kRows - 1) / kRows, 1, [&](int64_t from, int64_t to) {
      Room room(depth + 1, points, k);
      std::vector<double> phi(d * width * kRows);
      for (int64_t block = from; block < to; ++block) {
        const int64_t first = block * kRows, rows = std::min<int64_t>(kRows, n - first);
        std::fill(phi.begin(), phi.end(), 0.0);
        Block(trees, ways, rules, value.typed_data(), k, x.typed_data() + first * d, rows,
              columns, room, phi.data());
        for (int64_t r = 0; r < rows; ++r) {
          for (int64_t i = 0; i < d * width; ++i) {
            shares[(first + r) * d * width + i] = static_cast<T>(phi[i * kRows + r]);
          }
        }
      }
    });
    return ffi::Error::Success();
  });
}

template <ffi::DataType D>
static auto BindShap() {
  return BindTrees<D>()
      .template Arg<In<D>>()
      .template Arg<In<D>>()
      .template Ret<In<D>>()
      .template Attr<int32_t>("columns");
}

XLA_FFI_DEFINE_HANDLER_SYMBOL(trees_shap_float32, Shap<ffi::DataType::F32>,
                              BindShap<ffi::DataType::F32>());
XLA_FFI_DEFINE_HANDLER_SYMBOL(trees_shap_float64, Shap<ffi::DataType::F64>,
                              BindShap<ffi::DataType::F64>());
