// How pure a sum of rows is. Of a node with two children, Term(left) + Term(right) -
// Term(node) is the weight of the node times the decrease of its impurity.

#ifndef JAXML_OPS_CART_SCORE_H_
#define JAXML_OPS_CART_SCORE_H_

#include "cart_data.h"

namespace cart {

inline double LogTimes(double x) { return x > 0 ? x * std::log2(x) : 0.0; }

// What a side of weight `weight` adds to the score of a split; times the outputs.
template <class Kind>
inline double Term(const Problem& p, const double* sum, double weight) {
  const int64_t width = Kind::Width(p);
  double total = 0;
  if (p.criterion == kGini) {
    for (int64_t j = 0; j < width; ++j) total += sum[j] * sum[j];
    return total / weight;
  }
  if (p.criterion == kEntropy) {
    for (int64_t j = 0; j < width; ++j) total += LogTimes(sum[j]);
    return total - double(p.outputs) * LogTimes(weight);
  }
  if (p.criterion == kPoisson) {
    for (int64_t j = 1; j < width; ++j) {
      if (!(sum[j] > 1e-12 * weight)) return kLow;  // no mean of 0 may be predicted
      total += sum[j] * std::log(sum[j] / weight);
    }
    return total;
  }
  for (int64_t j = 1; j < width; ++j) total += sum[j] * sum[j];
  return total / weight;
}

// A node to be split: sums of its rows, and what its splits must keep.
struct Totals {
  double weight = 0, impurity = 0;
  double score = 0;  // of the node alone, times the outputs
  double slack = 0;  // below this a difference of scores is rounding
  bool pure = true;  // one label, or one number, in each output
  std::vector<double> sum, value;
};

template <class Kind>
void DescribeLabels(const Problem& p, Totals& t) {
  const int64_t c = p.classes;
  t.pure = true;
  double left = 0;
  for (int64_t o = 0; o < p.outputs; ++o) {
    const double* sum = t.sum.data() + o * c;
    int64_t seen = 0;
    double total = 0;
    for (int64_t j = 0; j < c; ++j) {
      seen += sum[j] > 0;
      t.value[o * c + j] = sum[j] / t.weight;
      const double share = sum[j] / t.weight;
      total += p.criterion == kGini ? share * share : -LogTimes(share);
    }
    if (seen > 1) {
      t.pure = false;
      left += p.criterion == kGini ? 1 - total : total;
    }
  }
  t.impurity = left / double(p.outputs);
}

// Median of sorted rows (number, weight): the middle of the two where half is between.
inline double Median(const std::vector<std::pair<double, double>>& sorted, double total) {
  double below = 0;
  for (size_t i = 0; i < sorted.size(); ++i) {
    below += sorted[i].second;
    if (below > total / 2) return sorted[i].first;
    if (below == total / 2 && i + 1 < sorted.size()) {
      return sorted[i].first / 2 + sorted[i + 1].first / 2;
    }
  }
  return sorted.empty() ? 0 : sorted.back().first;
}

template <class Kind, class Row>
void DescribeNumbers(const Problem& p, const Row* rows, int64_t count, Totals& t) {
  t.pure = true;
  double impurity = 0;
  std::vector<std::pair<double, double>> sorted;
  for (int64_t o = 0; o < p.outputs; ++o) {
    double least = std::numeric_limits<double>::infinity(), most = -least, spread = 0;
    for (int64_t i = 0; i < count; ++i) {
      const double y = Kind::Number(p, rows[i], o);
      least = std::min(least, y);
      most = std::max(most, y);
    }
    double middle = t.sum[o + 1] / t.weight;
    if (least == most) middle = least;
    if (least < most && p.criterion == kAbsolute) {
      sorted.clear();
      for (int64_t i = 0; i < count; ++i) {
        sorted.emplace_back(Kind::Number(p, rows[i], o), rows[i].weight);
      }
      std::sort(sorted.begin(), sorted.end());
      middle = Median(sorted, t.weight);
    }
    t.value[o] = middle + p.center[o];
    if (!(least < most)) continue;
    t.pure = false;
    for (int64_t i = 0; i < count; ++i) {
      const double y = Kind::Number(p, rows[i], o);
      if (p.criterion == kAbsolute) {
        spread += rows[i].weight * std::fabs(y - middle);
      } else if (p.criterion == kPoisson) {
        if (y > 0) spread += rows[i].weight * y * std::log(y / middle);
      } else {
        spread += rows[i].weight * (y - middle) * (y - middle);
      }
    }
    impurity += spread / t.weight;
  }
  t.impurity = impurity / double(p.outputs);
}

// Sums, value and impurity of the rows of a node.
template <class Kind, class Row>
void Describe(const Problem& p, const Row* rows, int64_t count, Totals& t) {
  t.sum.assign(Kind::Width(p), 0.0);
  t.value.assign(p.Values(), 0.0);
  for (int64_t i = 0; i < count; ++i) Kind::Add(p, t.sum.data(), rows[i]);
  t.weight = Kind::Weight(p, t.sum.data());
  if (p.classes) {
    DescribeLabels<Kind>(p, t);
  } else {
    DescribeNumbers<Kind>(p, rows, count, t);
  }
  const double outputs = double(p.outputs);
  t.score = p.criterion == kAbsolute ? -outputs * t.weight * t.impurity
                                     : Term<Kind>(p, t.sum.data(), t.weight);
  t.slack = 1e-12 * outputs * t.weight * t.impurity + 4e-15 * std::fabs(t.score);
}

}  // namespace cart

#endif  // JAXML_OPS_CART_SCORE_H_
