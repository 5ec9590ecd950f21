// Binned rows of a node: their histogram, and their parting.

#ifndef JAXML_OPS_BOOST_ROWS_H_
#define JAXML_OPS_BOOST_ROWS_H_

#include <vector>

#include "boost_split.h"

namespace jaxml {

// A binned data set, and what is known of its features.
struct Table {
  int64_t n, d, stride, groups;
  const uint8_t *codes, *columns;  // [n, stride] and [d, n]
  const int32_t *used, *kind, *monotone;  // [d]; kind: 1 categorical, 2 has missing values
  const bool *group, *allowed;  // [groups, d], [d]
  int missing;                  // the code of a missing value
};

struct Node {
  int64_t begin = 0, end = 0;
  Cell sum = {0, 0};
  int depth = 0, left = -1, right = -1, feature = -1;
  Candidate split;
  Cell left_sum = {0, 0};
  uint32_t set[kWords] = {};  // cells that go left
  bool missing_left = false;
  uint32_t path = 0;  // hash that the draws of the node come from
  Bounds bounds;
  double value = 0;
  std::vector<char> groups;  // constraints that all splits so far obey
  Cell* cells = nullptr;     // histogram, while it is kept
  int64_t rows() const { return end - begin; }
};

inline uint32_t Mix(uint32_t h) {
  h = (h ^ (h >> 16)) * 0x85ebca6bu;
  h = (h ^ (h >> 13)) * 0xc2b2ae35u;
  return h ^ (h >> 16);
}

// Adds rows to the cells of the features from `begin` to `end`.
CLONES static void Count(const Table& t, const Cell* payload, const int32_t* rows, int64_t m,
                         int64_t begin, int64_t end, Cell* cells) {
  constexpr int kAhead = 16, kTogether = 32;
  for (int64_t f = begin; f < end; f += kTogether) {
    const int64_t wide = std::min<int64_t>(kTogether, end - f);
    const uint8_t* codes = t.codes + f;
    for (int64_t i = 0; i < m; ++i) {
      if (i + kAhead < m) {
        const int64_t next = rows[i + kAhead];
        __builtin_prefetch(codes + next * t.stride);
        __builtin_prefetch(payload + next);
      }
      const uint8_t* code = codes + int64_t(rows[i]) * t.stride;
      const Cell add = payload[rows[i]];
      Cell* at = cells + f * kCells;
      int64_t j = 0;
      for (; j + 4 <= wide; j += 4, at += 4 * kCells) {
        at[code[j]] += add;
        at[kCells + code[j + 1]] += add;
        at[2 * kCells + code[j + 2]] += add;
        at[3 * kCells + code[j + 3]] += add;
      }
      for (; j < wide; ++j, at += kCells) at[code[j]] += add;
    }
  }
}

// Rows that go left stay in `rows`, in their order; the others come to `others`.
CLONES static int64_t Part(const uint8_t* column, const uint8_t* goes_left, int32_t* rows,
                           int64_t m, int32_t* others) {
  int64_t left = 0;
  for (int64_t i = 0; i < m; ++i) {
    const int32_t row = rows[i];
    const int64_t stays = goes_left[column[row]];
    rows[left] = row;
    others[i - left] = row;
    left += stays;
  }
  return left;
}

}  // namespace jaxml

#endif  // JAXML_OPS_BOOST_ROWS_H_
