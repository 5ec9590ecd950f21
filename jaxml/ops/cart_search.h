// The best split of one feature in one node, from sums of the node's rows by bin.
//
// Sums lie in a table that is all zeros between two searches: a node of many rows looks
// at all bins, one of few rows at those that a bitmap has, so that a search costs as
// much as the node has rows, not as there are bins.

#ifndef JAXML_OPS_CART_SEARCH_H_
#define JAXML_OPS_CART_SEARCH_H_

#include "cart_score.h"

namespace cart {

// Buffers of one thread.
struct Bench {
  std::vector<double> table;     // [group, bins + 1, width]
  std::vector<int32_t> rows;     // [group, bins + 1] rows, where min_leaf asks for them
  std::vector<uint64_t> bits;    // bins that are there, and words that are not 0
  std::vector<uint64_t> words;
  std::vector<int32_t> present;  // bins that are there, ascending
  std::vector<double> left, right;
  int64_t group = 1;  // features summed up in one pass over the rows

  Bench(const Problem& p, int64_t width) {
    const int64_t entries = (p.bins + 1) * width;
    group = std::max<int64_t>(1, std::min<int64_t>({8, p.d, 4096 / entries}));
    table.assign(group * entries, 0.0);
    rows.assign(p.min_leaf > 1 ? group * (p.bins + 1) : 0, 0);
    bits.assign(p.bins / 64 + 1, 0);
    words.assign(bits.size() / 64 + 1, 0);
    present.reserve(p.bins);
    left.resize(width);
    right.resize(width);
  }
};

// A draw from 0 (included) to 1 (excluded), exact in float32.
inline double Uniform(uint32_t path, uint32_t feature) {
  return double(Mix(Mix(path, kThreshold), feature) >> 8) * 0x1p-24;
}

// A number as the dtype of the data has it.
inline double Rounded(const Problem& p, double x) { return p.single ? double(float(x)) : x; }

// The middle of two values, rounded so that left <= middle < right.
inline double Middle(const Problem& p, double left, double right) {
  const double middle = Rounded(p, left / 2 + right / 2);
  return middle < right ? std::max(middle, left) : left;
}

// One threshold between the middles of the first and of the last bin; feature -1 where
// it would leave a side empty.
inline Split Draw(const Problem& p, int64_t feature, const std::vector<int32_t>& present,
                  bool missing, uint32_t path) {
  const double* low = p.low.data() + feature * p.bins;
  const double* high = p.high.data() + feature * p.bins;
  const auto middle = [&](int32_t bin) {
    return Rounded(p, low[bin] / 2 + high[bin] / 2);
  };
  Split split;
  split.missing_known = missing;
  split.missing_left = missing && (Mix(Mix(path, kMissing), feature) & 1);
  if (present.size() == 1 && split.missing_left) return split;
  split.feature = int32_t(feature);
  const double first = middle(present.front()), last = middle(present.back());
  const double u = Uniform(path, feature);
  double threshold =
      Rounded(p, Rounded(p, first * Rounded(p, 1 - u)) + Rounded(p, last * u));
  if (!(threshold < last)) threshold = first;
  threshold = std::max(threshold, first);
  size_t i = 1;
  while (i + 1 < present.size() && middle(present[i]) <= threshold) ++i;
  split.bin = present[i - 1];
  // A bin of several values goes whole: so does the threshold.
  if (i < present.size() && !(threshold < low[present[i]])) {
    threshold = Middle(p, high[split.bin], low[present[i]]);
  }
  split.threshold = std::max(threshold, high[split.bin]);
  return split;
}

template <class Kind>
struct Search {
  const Problem& p;
  const Totals& node;
  Bench& b;
  int64_t count;  // rows of the node
  double least;   // weight of a child
  int64_t feature;
  const double* table;
  const int32_t* rows;
  Split best;
  double bar = kLow;

  // Takes the split that leaves `b.left` on one side, if it is better than those before.
  void Try(double weight, int64_t n_left, int32_t bin, bool missing_left, double threshold) {
    if (n_left >= 0 && (n_left < p.min_leaf || count - n_left < p.min_leaf)) return;
    const int64_t width = Kind::Width(p);
    for (int64_t j = 0; j < width; ++j) b.right[j] = node.sum[j] - b.left[j];
    const double other = node.weight - weight;
    if (!(weight >= least && other >= least)) return;
    const double score =
        Term<Kind>(p, b.left.data(), weight) + Term<Kind>(p, b.right.data(), other);
    if (!(score > bar)) return;
    bar = score + kTie * std::max(score - node.score, 0.0) + node.slack;
    best.score = score;
    best.bin = bin;
    best.missing_left = missing_left;
    best.threshold = threshold;
    best.feature = int32_t(feature);
  }

  void AddBin(int64_t bin, double* weight, int64_t* n_left) {
    const int64_t width = Kind::Width(p);
    const double* sum = table + bin * width;
    for (int64_t j = 0; j < width; ++j) b.left[j] += sum[j];
    *weight += Kind::Weight(p, sum);
    if (*n_left >= 0) *n_left += rows[bin];
  }

  void All(bool missing) {
    const int64_t bins = int64_t(b.present.size());
    const double* low = p.low.data() + feature * p.bins;
    const double* high = p.high.data() + feature * p.bins;
    best.missing_known = missing;
    for (int side = 0; side <= int(missing); ++side) {
      std::fill(b.left.begin(), b.left.end(), 0.0);
      double weight = 0;
      int64_t n_left = rows ? 0 : -1;
      if (side) AddBin(p.bins, &weight, &n_left);
      for (int64_t i = 0; i + 1 < bins; ++i) {
        const int32_t bin = b.present[i];
        AddBin(bin, &weight, &n_left);
        Try(weight, n_left, bin, side, 0);
      }
      if (missing && !side) {
        AddBin(b.present[bins - 1], &weight, &n_left);
        Try(weight, n_left, b.present[bins - 1], false,
            std::numeric_limits<double>::infinity());
      }
    }
    if (best.feature < 0 || best.threshold > 0) return;
    const auto next = std::upper_bound(b.present.begin(), b.present.end(), best.bin);
    best.threshold = Middle(p, high[best.bin], low[*next]);
  }

  void Random(bool missing, uint32_t path) {
    best.missing_known = missing;
    const Split drawn = Draw(p, feature, b.present, missing, path);
    if (drawn.feature < 0) return;
    std::fill(b.left.begin(), b.left.end(), 0.0);
    double weight = 0;
    int64_t n_left = rows ? 0 : -1;
    if (drawn.missing_left) AddBin(p.bins, &weight, &n_left);
    for (size_t i = 0; i < b.present.size() && b.present[i] <= drawn.bin; ++i) {
      AddBin(b.present[i], &weight, &n_left);
    }
    Try(weight, n_left, drawn.bin, drawn.missing_left, drawn.threshold);
  }

  // Searches the table of a feature and clears it. False: the feature is constant.
  bool Run(bool dense, uint32_t path, double* sums, int32_t* numbers) {
    const int64_t width = Kind::Width(p);
    b.present.clear();
    if (dense) {
      for (int32_t bin = 0; bin < p.bins; ++bin) {
        if (Kind::Weight(p, sums + bin * width) > 0) b.present.push_back(bin);
      }
    } else {
      for (size_t at = 0; at < b.words.size(); ++at) {
        for (uint64_t word = b.words[at]; word; word &= word - 1) {
          const size_t index = at * 64 + __builtin_ctzll(word);
          for (uint64_t bits = b.bits[index]; bits; bits &= bits - 1) {
            b.present.push_back(int32_t(index * 64 + __builtin_ctzll(bits)));
          }
          b.bits[index] = 0;
        }
        b.words[at] = 0;
      }
      if (b.present.back() == p.bins) b.present.pop_back();
    }
    const bool missing = Kind::Weight(p, sums + p.bins * width) > 0;
    const bool varies = !b.present.empty() && (missing || b.present.size() > 1);
    table = sums;
    rows = numbers;
    if (varies && !p.random) All(missing);
    if (varies && p.random) Random(missing, path);
    for (const int32_t bin : b.present) {
      std::fill(sums + bin * width, sums + (bin + 1) * width, 0.0);
      if (numbers) numbers[bin] = 0;
    }
    std::fill(sums + p.bins * width, sums + (p.bins + 1) * width, 0.0);
    if (numbers) numbers[p.bins] = 0;
    return varies;
  }
};

}  // namespace cart

#endif  // JAXML_OPS_CART_SEARCH_H_
