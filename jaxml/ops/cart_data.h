// What the growth of trees works on: the problem, rows of four kinds, sums of rows, and
// the random numbers, which depend on a tree's seed and on the path to a node alone.

#ifndef JAXML_OPS_CART_DATA_H_
#define JAXML_OPS_CART_DATA_H_

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

namespace cart {

// The order of CRITERIA in jaxml/models/classical/cart.py.
enum Criterion { kGini, kEntropy, kSquared, kPoisson, kAbsolute };
enum Stream : uint32_t { kLeft = 1, kRight, kFeature, kThreshold, kMissing };

constexpr double kTie = 1e-7;  // share of a gain by which a later split must be better
constexpr double kLow = -std::numeric_limits<double>::infinity();

struct Problem {
  int64_t n, d, bins, outputs, classes;  // classes is 0 where targets are numbers
  int criterion;
  bool random, single;                                     // thresholds drawn; float32
  bool shuffle;  // of features that tie a drawn one wins, not the lowest
  int64_t max_depth, max_leaves, max_features, capacity;   // below 0: no limit
  double min_split, min_leaf, min_fraction, min_decrease;
  std::vector<double> low, high;  // [d, bins] smallest and largest value of a bin
  const int32_t* labels;          // [n, outputs]
  std::vector<double> targets;    // [n, outputs], less their center
  std::vector<double> center;     // [outputs]

  int64_t Width() const { return classes ? outputs * classes : outputs + 1; }
  int64_t Values() const { return classes ? outputs * classes : outputs; }
};

struct Node {
  int32_t left = -1, right = -1, feature = -2, count = 0;
  double threshold = -2, impurity = 0, weight = 0;
  bool missing_left = false;
};

struct Tree {
  std::vector<Node> nodes;
  std::vector<double> values;  // [nodes, Values()]
  bool full = false;
};

struct Split {
  double score = kLow, threshold = 0;
  int32_t feature = -1, bin = 0;
  bool missing_left = false, missing_known = false;
};

// The finalizer of MurmurHash3 (Appleby), of a state and a number.
inline uint32_t Mix(uint32_t state, uint32_t number) {
  uint32_t h = state + 0x9E3779B9u * (number + 1);
  h ^= h >> 16;
  h *= 0x85EBCA6Bu;
  h ^= h >> 13;
  h *= 0xC2B2AE35u;
  return h ^ (h >> 16);
}

// Rows of one label, of one number, or of several targets that are looked up. Kind::Add
// adds a row to a sum, Kind::Weight tells the weight of a sum.
template <int kWidth>
struct Labels {
  struct Row {
    double weight;
    int32_t row, label;
  };
  static Row Make(const Problem& p, int64_t i, double weight) {
    return {weight, int32_t(i), p.labels[i]};
  }
  static int64_t Width(const Problem& p) { return kWidth ? kWidth : p.classes; }
  static void Add(const Problem&, double* sum, const Row& row) {
    sum[row.label] += row.weight;
  }
  static double Weight(const Problem& p, const double* sum) {
    double total = 0;
    for (int64_t c = 0; c < Width(p); ++c) total += sum[c];
    return total;
  }
  static double Number(const Problem&, const Row&, int64_t) { return 0; }
};

struct Numbers {
  struct Row {
    double weight, number;
    int32_t row, spare;
  };
  static Row Make(const Problem& p, int64_t i, double weight) {
    return {weight, p.targets[i], int32_t(i), 0};
  }
  static int64_t Width(const Problem&) { return 2; }
  static void Add(const Problem&, double* sum, const Row& row) {
    sum[0] += row.weight;
    sum[1] += row.weight * row.number;
  }
  static double Weight(const Problem&, const double* sum) { return sum[0]; }
  static double Number(const Problem&, const Row& row, int64_t) { return row.number; }
};

struct ManyRow {
  double weight;
  int32_t row, spare;
};

struct ManyLabels {
  using Row = ManyRow;
  static Row Make(const Problem&, int64_t i, double weight) {
    return {weight, int32_t(i), 0};
  }
  static int64_t Width(const Problem& p) { return p.outputs * p.classes; }
  static void Add(const Problem& p, double* sum, const Row& row) {
    const int32_t* label = p.labels + row.row * p.outputs;
    for (int64_t o = 0; o < p.outputs; ++o) sum[o * p.classes + label[o]] += row.weight;
  }
  static double Weight(const Problem& p, const double* sum) {
    double total = 0;
    for (int64_t c = 0; c < p.classes; ++c) total += sum[c];
    return total;
  }
  static double Number(const Problem&, const Row&, int64_t) { return 0; }
};

struct ManyNumbers {
  using Row = ManyRow;
  static Row Make(const Problem&, int64_t i, double weight) {
    return {weight, int32_t(i), 0};
  }
  static int64_t Width(const Problem& p) { return p.outputs + 1; }
  static void Add(const Problem& p, double* sum, const Row& row) {
    sum[0] += row.weight;
    for (int64_t o = 0; o < p.outputs; ++o) sum[o + 1] += row.weight * Number(p, row, o);
  }
  static double Weight(const Problem&, const double* sum) { return sum[0]; }
  static double Number(const Problem& p, const Row& row, int64_t o) {
    return p.targets[row.row * p.outputs + o];
  }
};

}  // namespace cart

#endif  // JAXML_OPS_CART_DATA_H_
