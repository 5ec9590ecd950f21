// The trees of one iteration of gradient boosting: what `grow` of
// jaxml/models/classical/boosting_growth.py does in XLA. Read that file for the meaning of
// the arrays.

#include "boost_search.h"

namespace ffi = xla::ffi;

namespace jaxml {

template <ffi::DataType D>
using In = ffi::Buffer<D>;
template <ffi::DataType D>
using Out = ffi::Result<ffi::Buffer<D>>;
constexpr auto kInt = ffi::DataType::S32;
constexpr auto kBit = ffi::DataType::PRED;
constexpr auto kWord = ffi::DataType::U32;
constexpr auto kByte = ffi::DataType::U8;

// Power of two that turns numbers up to `most` into integers below 2^bits.
static double Unit(double most, int bits) {
  int exponent = 0;
  std::frexp(most, &exponent);
  return std::ldexp(1.0, exponent - bits);
}

static int BitsOf(int64_t n) {
  int bits = 1;
  while ((int64_t(1) << bits) <= n) ++bits;
  return bits;
}

template <typename T>
CLONES static double Largest(const T* values, int64_t n) {
  T most = 0;
#pragma omp simd reduction(max : most)
  for (int64_t i = 0; i < n; ++i) {
    T size = std::fabs(values[i]);
    most = size > most ? size : most;
  }
  return double(most);
}

// Gradient and hessian of each row in integers; their sum over the rows in the bag. A
// number that is not finite has no integer, and shows in `finite`.
template <typename T>
CLONES static Cell Fill(const T* gradient, const T* hessian, bool constant, const bool* bag,
                        int64_t begin, int64_t end, double gu, double hu, int bits, Cell* out,
                        bool* finite) {
  Cell sum = {0, 0};
  int64_t bad = 0;
  for (int64_t i = begin; i < end; ++i) {
    const double g = double(gradient[i]), h = double(hessian[constant ? 0 : i]);
    const bool good = (std::fabs(g) <= 1e300) & (std::fabs(h) <= 1e300);
    bad += bag[i] & !good;
    const double gi = good & bag[i] ? std::nearbyint(g * gu) : 0;
    const double hi = good & bag[i] ? std::nearbyint(h * hu) : 0;
    const Cell cell = {int64_t(gi), int64_t((uint64_t(int64_t(hi)) << bits) | 1u)};
    out[i] = cell;
    sum += bag[i] ? cell : Cell{0, 0};
  }
  if (bad) *finite = false;
  return sum;
}

// Depth-first numbers of the nodes, left before right.
static std::vector<int> Order(const std::vector<Node>& nodes) {
  std::vector<int> order, stack = {0};
  while (!stack.empty()) {
    const int i = stack.back();
    stack.pop_back();
    order.push_back(i);
    if (nodes[i].left < 0) continue;
    stack.push_back(nodes[i].right);
    stack.push_back(nodes[i].left);
  }
  return order;
}

template <typename T>
struct Tree {
  int32_t *left, *right, *feature, *bin;
  bool *missing_left, *categorical;
  uint32_t* set;
  T *value, *loss, *weight;
  int32_t *rows, *count;
  int64_t capacity, words;
};

template <typename T>
static std::vector<int> Write(const std::vector<Node>& nodes, const Table& t, const Units& u,
                              const Numbers& a, bool finite, const Tree<T>& out) {
  const std::vector<int> order = Order(nodes);
  std::vector<int> number(nodes.size());
  for (size_t k = 0; k < order.size(); ++k) number[order[k]] = int(k);
  *out.count = int32_t(order.size());
  for (int64_t k = 0; k < out.capacity; ++k) {
    const bool there = k < int64_t(order.size());
    const Node node = there ? nodes[order[k]] : Node();
    const bool inner = node.left >= 0;
    const bool sets = inner && (t.kind[node.feature] & 1);
    out.left[k] = inner ? number[node.left] : -1;
    out.right[k] = inner ? number[node.right] : -1;
    out.feature[k] = inner ? node.feature : -2;
    out.bin[k] = inner ? (sets ? 0 : node.split.bin) : -2;
    out.missing_left[k] = inner && node.missing_left;
    out.categorical[k] = sets;
    for (int64_t w = 0; w < out.words; ++w) {
      out.set[k * out.words + w] = sets && w < kWords ? node.set[w] : 0;
    }
    const T nothing = finite ? T(0) : std::numeric_limits<T>::quiet_NaN();
    out.value[k] = there && finite ? T(node.value) : nothing;
    out.loss[k] = there ? T(node.value * Soft(u.Gradient(node.sum), a.l1)) : T(0);
    out.weight[k] = there ? T(u.Hessian(node.sum)) : T(0);
    out.rows[k] = there ? int32_t(u.Rows(node.sum)) : 0;
  }
  return number;
}

// Leaf of each row: of those in the bag where they lie, of the others by the splits.
static void Leaves(const std::vector<Node>& nodes, const std::vector<int>& number,
                   const Table& t, const bool* bag, const std::vector<int32_t>& rows,
                   Team& team, int32_t* leaf) {
  team.Run(nodes.size(), [&](int64_t i, int) {
    if (nodes[i].left >= 0) return;
    for (int64_t r = nodes[i].begin; r < nodes[i].end; ++r) leaf[rows[r]] = number[i];
  });
  if (int64_t(rows.size()) == t.n) return;
  constexpr int64_t kChunk = 4096;
  team.Run((t.n + kChunk - 1) / kChunk, [&](int64_t c, int) {
    for (int64_t r = c * kChunk; r < std::min(t.n, (c + 1) * kChunk); ++r) {
      if (bag[r]) continue;
      int i = 0;
      while (nodes[i].left >= 0) {
        const Node& node = nodes[i];
        const int code = t.codes[r * t.stride + node.feature];
        bool left = node.set[code >> 5] >> (code & 31) & 1;
        if (code == t.missing) left = node.missing_left;
        i = left ? node.left : node.right;
      }
      leaf[r] = number[i];
    }
  });
}

// What one fit has of an array whose first axis counts the fits, or is 1 where all share it.
template <typename B>
static auto* Of(B& buffer, int64_t fit) {
  const int64_t many = buffer.dimensions()[0];
  const int64_t size = many > 0 ? int64_t(buffer.element_count()) / many : 0;
  return buffer.typed_data() + (many == 1 ? 0 : fit * size);
}

// The trees of one fit: one for each row of gradients.
template <typename T>
struct Fit {
  Table table;
  Numbers numbers;
  int64_t k, kh, m, words;  // trees, hessians of one, nodes of one, words of a set
  const T *gradient, *hessian;
  const bool* bag;
  const uint32_t* seeds;
  int64_t leaves;
  int depth;

  // `tree` gives the places of tree c, `leaf` those of the leaves of its rows.
  template <typename F>
  void Run(Team& team, const F& tree, int32_t* leaf) const {
    const int64_t n = table.n;
    std::vector<int32_t> all, order;
    all.reserve(n);
    for (int64_t i = 0; i < n; ++i) {
      if (bag[i]) all.push_back(int32_t(i));
    }
    std::unique_ptr<Cell[]> payload(new Cell[n]);
    Grower grower(table, numbers, leaves, depth, team);
    for (int64_t c = 0; c < k; ++c) {
      const T *g = gradient + c * n, *h = hessian + c * kh;
      constexpr int64_t kChunk = 16384;
      const int64_t chunks = (n + kChunk - 1) / kChunk;
      std::vector<double> most_g(chunks), most_h(chunks);
      team.Run(chunks, [&](int64_t i, int) {
        const int64_t size = std::min(kChunk, n - i * kChunk);
        most_g[i] = Largest(g + i * kChunk, size);
        most_h[i] = kh == 1 ? std::fabs(double(h[0])) : Largest(h + i * kChunk, size);
      });
      Units units;
      units.count_bits = BitsOf(n);
      const int room = 62 - units.count_bits;
      const double top_g = *std::max_element(most_g.begin(), most_g.end());
      const double top_h = *std::max_element(most_h.begin(), most_h.end());
      units.gradient = Unit(top_g <= 1e300 ? top_g : 1, room);
      units.hessian = Unit(top_h <= 1e300 ? top_h : 1, room - units.count_bits);
      std::vector<Cell> sums(chunks);
      std::vector<char> good(chunks, 1);
      team.Run(chunks, [&](int64_t i, int) {
        bool finite = true;
        sums[i] = Fill(g, h, kh == 1, bag, i * kChunk, std::min(n, (i + 1) * kChunk),
                       1 / units.gradient, 1 / units.hessian, units.count_bits,
                       payload.get(), &finite);
        good[i] = finite;
      });
      Cell sum = {0, 0};
      for (const Cell& part : sums) sum += part;
      const bool finite = std::all_of(good.begin(), good.end(), [](char x) { return x; });
      order = finite ? all : std::vector<int32_t>();
      grower.Grow(payload.get(), units, finite ? sum : Cell{0, 0}, order, seeds[c]);
      const auto numbered = Write(grower.nodes(), table, units, numbers, finite, tree(c));
      Leaves(grower.nodes(), numbered, table, bag, order, team, leaf + c * n);
    }
  }
};

// Every array has a first axis that counts the fits, of length 1 where they share it. Fits
// are shared out among the threads, each whole; one alone has them all.
template <ffi::DataType D>
static ffi::Error Boost(ffi::ThreadPool pool, In<kByte> codes, In<kByte> columns,
                        In<D> gradient, In<D> hessian, In<kBit> bag, In<kInt> used,
                        In<kInt> kind, In<kInt> monotone, In<kBit> groups, In<kBit> allowed,
                        In<kWord> seeds, In<D> numbers, Out<kInt> left, Out<kInt> right,
                        Out<kInt> feature, Out<kInt> bin, Out<kBit> missing_left,
                        Out<kBit> categorical, Out<kWord> sets, Out<D> value, Out<D> loss,
                        Out<D> weight, Out<kInt> rows, Out<kInt> count, Out<kInt> leaf,
                        int32_t leaves, int32_t depth, int32_t missing) {
  using T = ffi::NativeType<D>;
  const int64_t n = codes.dimensions()[1], d = used.dimensions()[1];
  const int64_t k = gradient.dimensions()[1], kh = hessian.dimensions()[2];
  const int64_t fits = value->dimensions()[0], m = value->dimensions()[2];
  bool fit = codes.dimensions()[2] >= d && columns.dimensions()[1] == d &&
             columns.dimensions()[2] == n && gradient.dimensions()[2] == n &&
             hessian.dimensions()[1] == k && (kh == n || kh == 1) &&
             bag.dimensions()[1] == n && missing >= 1 && missing < kCells &&
             numbers.dimensions()[1] == 8 && leaves >= 1 && m >= 2 * leaves - 1 &&
             n < (int64_t(1) << 31);
  const auto counts = [&](auto& buffer) {
    fit = fit && (buffer.dimensions()[0] == 1 || buffer.dimensions()[0] == fits);
  };
  counts(codes), counts(columns), counts(gradient), counts(hessian), counts(bag);
  counts(used), counts(kind), counts(monotone), counts(groups), counts(allowed);
  counts(seeds), counts(numbers);
  if (!fit) return ffi::Error::InvalidArgument("boost: the shapes do not fit");
  for (size_t i = 0; i < used.element_count(); ++i) {
    if (used.typed_data()[i] < 0 || used.typed_data()[i] > missing) {
      return ffi::Error::InvalidArgument("boost: more bins than there is room for");
    }
  }
  const auto run = [&](int64_t b, Team& team) {
    const T* a = Of(numbers, b);
    const Fit<T> one = {{n, d, codes.dimensions()[2], groups.dimensions()[1], Of(codes, b),
                         Of(columns, b), Of(used, b), Of(kind, b), Of(monotone, b),
                         Of(groups, b), Of(allowed, b), missing},
                        {a[0], a[1], a[2], a[3], a[4], a[5], a[6], a[7]},
                        k, kh, m, sets->dimensions()[3],
                        Of(gradient, b), Of(hessian, b), Of(bag, b), Of(seeds, b),
                        leaves, depth};
    const auto tree = [&](int64_t c) {
      const int64_t at = c * m;
      return Tree<T>{Of(*left, b) + at,
                     Of(*right, b) + at,
                     Of(*feature, b) + at,
                     Of(*bin, b) + at,
                     Of(*missing_left, b) + at,
                     Of(*categorical, b) + at,
                     Of(*sets, b) + at * one.words,
                     Of(*value, b) + at,
                     Of(*loss, b) + at,
                     Of(*weight, b) + at,
                     Of(*rows, b) + at,
                     Of(*count, b) + c,
                     m,
                     one.words};
    };
    one.Run(team, tree, Of(*leaf, b));
  };
  const int64_t threads = thread_count(pool), work = n * d / 50000 + 1;
  return guarded([&] {
    if (fits == 1) {
      const int members = int(std::min<int64_t>({threads, work, d, 16}));
      assemble(members, [&](Team& team) { run(0, team); });
      return ffi::Error::Success();
    }
    assemble(int(std::min<int64_t>({threads, fits, 16})), [&](Team& team) {
      team.Run(fits, [&](int64_t b, int) {
        Team alone(1);
        run(b, alone);
      });
    });
    return ffi::Error::Success();
  });
}

template <ffi::DataType D>
static auto Bind() {
  return ffi::Ffi::Bind()
      .template Ctx<ffi::ThreadPool>()
      .template Arg<In<kByte>>()
      .template Arg<In<kByte>>()
      .template Arg<In<D>>()
      .template Arg<In<D>>()
      .template Arg<In<kBit>>()
      .template Arg<In<kInt>>()
      .template Arg<In<kInt>>()
      .template Arg<In<kInt>>()
      .template Arg<In<kBit>>()
      .template Arg<In<kBit>>()
      .template Arg<In<kWord>>()
      .template Arg<In<D>>()
      .template Ret<In<kInt>>()
      .template Ret<In<kInt>>()
      .template Ret<In<kInt>>()
      .template Ret<In<kInt>>()
      .template Ret<In<kBit>>()
      .template Ret<In<kBit>>()
      .template Ret<In<kWord>>()
      .template Ret<In<D>>()
      .template Ret<In<D>>()
      .template Ret<In<D>>()
      .template Ret<In<kInt>>()
      .template Ret<In<kInt>>()
      .template Ret<In<kInt>>()
      .template Attr<int32_t>("leaves")
      .template Attr<int32_t>("depth")
      .template Attr<int32_t>("missing");
}

}  // namespace jaxml

XLA_FFI_DEFINE_HANDLER_SYMBOL(boost_float32, jaxml::Boost<ffi::DataType::F32>,
                              jaxml::Bind<ffi::DataType::F32>());
XLA_FFI_DEFINE_HANDLER_SYMBOL(boost_float64, jaxml::Boost<ffi::DataType::F64>,
                              jaxml::Bind<ffi::DataType::F64>());
