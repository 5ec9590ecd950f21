// Histograms of gradients for boosted trees, and the best split of one feature.
//
// Gradients and hessians are integers here, in units of a power of two that leaves no room
// for overflow: their sums do not depend on the order, so neither on the number of threads,
// a sibling is the difference of parent and child exactly, and equal splits are equal.

#ifndef JAXML_OPS_BOOST_SPLIT_H_
#define JAXML_OPS_BOOST_SPLIT_H_

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>

#include "parallel.h"

namespace jaxml {

constexpr int kCells = 256;  // of a feature: bins, and one for what is missing
constexpr int kWords = 8;    // 32-bit words in a set of cells
constexpr double kTie = 1e-7;
constexpr double kNever = -std::numeric_limits<double>::infinity();
constexpr double kTiny = 1e-15;

// Sums over rows; two lanes of one vector. Gradient, and hessian above the count of rows.
typedef long long Cell __attribute__((vector_size(16)));

struct Units {
  double gradient = 1, hessian = 1;  // what one unit is worth
  int count_bits = 1;
  int64_t Rows(Cell c) const { return c[1] & ((int64_t(1) << count_bits) - 1); }
  double Gradient(Cell c) const { return double(c[0]) * gradient; }
  double Hessian(Cell c) const { return double(c[1] >> count_bits) * hessian; }
};

struct Numbers {
  double l1, l2, min_child_weight, min_samples_leaf, min_gain, max_step, max_features,
      smooth;
};

struct Bounds {
  double lower = kNever, upper = -kNever;
};

// What a feature's search needs to know of the node.
struct Context {
  const Numbers* numbers;
  Units units;
  Cell sum;
  Bounds bounds;
  double loss;  // of the node as a leaf
  bool bounded;
};

struct Candidate {
  double gain = kNever;
  int bin = 0;  // the last one that goes left; of categories: how many go left
  bool missing_left = false;  // of categories: those of the largest slope go left
};

inline double Soft(double g, double l1) {
  const double size = std::fabs(g) - l1;
  return size <= 0 ? 0 : (g > 0 ? size : -size);
}

inline double LeafValue(double g, double h, const Numbers& a, Bounds b) {
  const double value = -Soft(g, a.l1) / (h + a.l2 + kTiny);
  return value < b.lower ? b.lower : (value > b.upper ? b.upper : value);
}

// Gain of a split into `left` and the rest, or kNever.
inline double Gain(const Context& c, Cell left, int monotone) {
  const Numbers& a = *c.numbers;
  const Cell right = c.sum - left;
  const double hl = c.units.Hessian(left), hr = c.units.Hessian(right);
  if (!(double(c.units.Rows(left)) >= a.min_samples_leaf &&
        double(c.units.Rows(right)) >= a.min_samples_leaf && hl >= a.min_child_weight &&
        hr >= a.min_child_weight)) {
    return kNever;
  }
  const double gl = c.units.Gradient(left), gr = c.units.Gradient(right);
  const double vl = LeafValue(gl, hl, a, c.bounds), vr = LeafValue(gr, hr, a, c.bounds);
  if ((monotone > 0 && vl > vr) || (monotone < 0 && vl < vr)) return kNever;
  return c.loss - vl * Soft(gl, a.l1) - vr * Soft(gr, a.l1);
}

// The lowest bin whose gain is the highest but for rounding.
static INLINE void First(const double* gains, int count, bool missing_left, Candidate* best) {
  double most = kNever;
#pragma omp simd reduction(max : most)
  for (int b = 0; b < count; ++b) most = gains[b] > most ? gains[b] : most;
  const double enough = most - kTie * std::fabs(most);
  if (!(most > kNever) || !(enough > best->gain)) return;
  int b = 0;
  while (!(gains[b] >= enough)) ++b;
  *best = {most, b, missing_left};
}

// Splits "bin <= b" for b below count, missing rows in `start` where they go left.
CLONES static void ScanBins(const Context& c, const Cell* cells, int count, Cell start,
                            int monotone, bool missing_left, Candidate* best) {
  alignas(64) double gains[kCells];
  alignas(64) int64_t first[kCells], second[kCells];
  Cell sum = start;
  for (int b = 0; b < count; ++b) {
    sum += cells[b];
    first[b] = sum[0];
    second[b] = sum[1];
  }
  if (c.bounded) {
    for (int b = 0; b < count; ++b) {
      gains[b] = Gain(c, Cell{first[b], second[b]}, monotone);
    }
    return First(gains, count, missing_left, best);
  }
  const Numbers& a = *c.numbers;
  const int bits = c.units.count_bits;
  const int64_t mask = (int64_t(1) << bits) - 1, all_g = c.sum[0], all_h = c.sum[1] >> bits;
  const int64_t rows = c.sum[1] & mask;
  const int64_t least = int64_t(std::ceil(std::min(std::max(a.min_samples_leaf, 1.0), 9e15)));
  const double gu = c.units.gradient, hu = c.units.hessian, l1 = a.l1, l2 = a.l2 + kTiny;
  const double weight = a.min_child_weight, loss = c.loss;
#pragma omp simd
  for (int b = 0; b < count; ++b) {
    const int64_t n = second[b] & mask, h = second[b] >> bits;
    const double gl = double(first[b]) * gu, gr = double(all_g - first[b]) * gu;
    const double hl = double(h) * hu, hr = double(all_h - h) * hu;
    double sl = std::fabs(gl) - l1, sr = std::fabs(gr) - l1;
    sl = sl > 0 ? sl : 0;
    sr = sr > 0 ? sr : 0;
    const double dl = hl + l2, dr = hr + l2;
    const double gain = loss + (sl * sl * dr + sr * sr * dl) / (dl * dr);
    const bool good = (n >= least) & (rows - n >= least) & (hl >= weight) & (hr >= weight);
    gains[b] = good ? gain : kNever;
  }
  First(gains, count, missing_left, best);
}

// Categories with enough rows, in the order of their slopes, and what each is.
struct Ranked {
  int count = 0;
  int cell[kCells];
};

inline Ranked Rank(const Context& c, const Cell* cells, int used, int missing) {
  const double smooth = c.numbers->smooth;
  const double share = double(c.units.Rows(c.sum)) / c.units.Hessian(c.sum);
  Ranked ranked;
  double slope[kCells];
  auto consider = [&](int b) {
    const double h = c.units.Hessian(cells[b]);
    if (c.units.Rows(cells[b]) == 0 || !(h * share * (1 + 1e-6) >= smooth)) return;
    slope[b] = c.units.Gradient(cells[b]) / (h + smooth);
    ranked.cell[ranked.count++] = b;
  };
  for (int b = 0; b < used; ++b) consider(b);
  if (missing >= 0) consider(missing);
  std::stable_sort(ranked.cell, ranked.cell + ranked.count,
                   [&](int a, int b) { return slope[a] < slope[b]; });
  return ranked;
}

// Fisher's splits of ordered categories, from both ends to the middle; those with few rows
// stay with the larger half.
inline Candidate ScanCategories(const Context& c, const Cell* cells, int used, int missing) {
  const Ranked ranked = Rank(c, cells, used, missing);
  Candidate best;
  if (ranked.count < 2) return best;
  for (int from_end = 0; from_end < 2; ++from_end) {
    const int middle = (ranked.count + 1) / 2 - from_end;
    Cell left = {0, 0};
    for (int i = 0; i < middle; ++i) {
      left += cells[ranked.cell[from_end ? ranked.count - 1 - i : i]];
      const double gain = Gain(c, left, 0);
      if (gain > kNever && gain - kTie * std::fabs(gain) > best.gain) {
        best = {gain, i + 1, from_end == 1};
      }
    }
  }
  return best;
}

}  // namespace jaxml

#endif  // JAXML_OPS_BOOST_SPLIT_H_
