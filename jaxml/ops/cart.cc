// Growth of decision trees on binned rows: what `cart_levels.grow` of
// jaxml/models/classical does in XLA. Read cart.py there for the meaning of the arrays.
//
// Trees are spread over threads. One tree alone is grown by all of them: the features of
// its large nodes are searched in parallel, then the parts below are grown in parallel.
// Sums are in double precision, over rows in one order: results do not depend on threads.

#include "cart_grow.h"
#include "parallel.h"
#include "xla/ffi/api/ffi.h"

namespace ffi = xla::ffi;

namespace cart {

constexpr int64_t kDefer = 4096;  // rows of a part that one thread grows alone, at least

// A tree of one leaf that says that there is no answer.
inline Tree NoTree(const Problem& p, int64_t count, double weight) {
  Tree tree;
  tree.nodes.emplace_back();
  tree.nodes[0].count = int32_t(count);
  tree.nodes[0].weight = weight;
  tree.nodes[0].impurity = std::numeric_limits<double>::quiet_NaN();
  tree.values.assign(p.Values(), std::numeric_limits<double>::quiet_NaN());
  return tree;
}

// Whether all targets of a row are what they must be.
inline bool Sound(const Problem& p, int64_t i) {
  for (int64_t o = 0; o < p.outputs; ++o) {
    const int64_t at = i * p.outputs + o;
    if (p.classes ? p.labels[at] < 0 || p.labels[at] >= p.classes
                  : !std::isfinite(p.targets[at])) {
      return false;
    }
    if (p.criterion == kPoisson && p.targets[at] < 0) return false;
  }
  return true;
}

template <class Kind, class Code, typename T>
Tree GrowOne(const Problem& p, const Code* codes, const T* weight, uint32_t seed,
             const ffi::ThreadPool* pool) {
  using Row = typename Kind::Row;
  std::vector<Row> rows;
  double total = 0;
  bool sound = true;
  int64_t count = 0;
  for (int64_t i = 0; i < p.n; ++i) count += weight[i] != 0;
  const auto fill = [&] {
    rows.clear();
    rows.reserve(count);
    total = 0;
    for (int64_t i = 0; i < p.n; ++i) {
      if (weight[i] == 0) continue;
      sound = sound && weight[i] > 0 && Sound(p, i);
      if (!sound) return;
      rows.push_back(Kind::Make(p, i, double(weight[i])));
      total += double(weight[i]);
    }
  };
  fill();
  if (!sound || rows.empty() || !std::isfinite(total)) {
    return NoTree(p, count, sound ? total : std::numeric_limits<double>::quiet_NaN());
  }
  const Span root{0, count, 0, -1, false, seed, std::vector<uint64_t>(p.d / 64 + 1, 0)};
  const int64_t defer = std::max(kDefer, count / 16);
  Tree tree;
  if (p.max_leaves >= 0) {
    Grower<Kind, Code>(p, codes, rows.data(), total, pool).BestFirst(root, p.capacity, tree);
    return tree;
  }
  if (pool && count > defer) {
    std::vector<Span> pending;
    Grower<Kind, Code>(p, codes, rows.data(), total, pool)
        .DepthFirst(root, p.capacity, defer, &pending, tree);
    std::vector<Tree> parts(pending.size());
    parallel_for(*pool, int64_t(pending.size()), [&](int64_t i) {
      Span span = pending[i];
      span.parent = -1;
      Grower<Kind, Code>(p, codes, rows.data(), total, nullptr)
          .DepthFirst(span, p.capacity, 0, nullptr, parts[i]);
    });
    bool full = tree.full;
    int64_t nodes = int64_t(tree.nodes.size());
    for (const Tree& part : parts) {
      full |= part.full;
      nodes += int64_t(part.nodes.size()) - 1;
    }
    if (!full && nodes <= p.capacity) return Joined(p, tree, parts);
    tree = Tree();  // which nodes get the room must not depend on threads
    fill();
  }
  Grower<Kind, Code>(p, codes, rows.data(), total, nullptr)
      .DepthFirst(root, p.capacity, 0, nullptr, tree);
  return tree;
}

template <typename T>
struct Arrays {
  int32_t *left, *right, *feature, *count, *node_count;
  T *threshold, *value, *impurity, *weight;
  bool *missing_left, *full;

  void Write(const Problem& p, int64_t t, const Tree& tree) const {
    const int64_t m = p.capacity, k = p.Values(), size = int64_t(tree.nodes.size());
    const Node unused;
    for (int64_t i = 0; i < m; ++i) {
      const Node& node = i < size ? tree.nodes[i] : unused;
      const int64_t at = t * m + i;
      left[at] = node.left;
      right[at] = node.right;
      feature[at] = node.feature;
      count[at] = node.count;
      threshold[at] = T(node.threshold);
      impurity[at] = T(node.impurity);
      weight[at] = T(node.weight);
      missing_left[at] = node.missing_left;
      for (int64_t j = 0; j < k; ++j) {
        value[at * k + j] = i < size ? T(tree.values[i * k + j]) : T(0);
      }
    }
    node_count[t] = int32_t(size);
    full[t] = tree.full;
  }
};

template <class Kind, class Code, typename T>
void GrowAll(const Problem& p, const Code* codes, const T* weight, const uint32_t* seeds,
             int64_t trees, const Arrays<T>& out, const ffi::ThreadPool& pool) {
  const bool within = trees < thread_count(pool);
  parallel_for(pool, trees, [&](int64_t t) {
    out.Write(p, t,
              GrowOne<Kind, Code>(p, codes, weight + t * p.n, seeds[t],
                                  within ? &pool : nullptr));
  });
}

template <class Code, typename T>
ffi::Error GrowKind(const Problem& p, const Code* codes, const T* weight,
                    const uint32_t* seeds, int64_t trees, const Arrays<T>& out,
                    const ffi::ThreadPool& pool) {
  Code most = 0;
  for (int64_t i = 0; i < p.n * p.d; ++i) most = std::max(most, codes[i]);
  if (int64_t(most) > p.bins) return ffi::Error::InvalidArgument("cart: a code has no bin");
  if (p.classes && p.outputs > 1) {
    GrowAll<ManyLabels, Code>(p, codes, weight, seeds, trees, out, pool);
  } else if (p.classes == 2) {
    GrowAll<Labels<2>, Code>(p, codes, weight, seeds, trees, out, pool);
  } else if (p.classes) {
    GrowAll<Labels<0>, Code>(p, codes, weight, seeds, trees, out, pool);
  } else if (p.outputs > 1) {
    GrowAll<ManyNumbers, Code>(p, codes, weight, seeds, trees, out, pool);
  } else {
    GrowAll<Numbers, Code>(p, codes, weight, seeds, trees, out, pool);
  }
  return ffi::Error::Success();
}

// Numbers less their mean, over the rows of the first tree: sums of squares are small.
template <typename T>
void Center(Problem& p, const T* target, const T* weight) {
  p.targets.assign(target, target + p.n * p.outputs);
  p.center.assign(p.outputs, 0.0);
  if (p.criterion != kSquared) return;
  for (int64_t o = 0; o < p.outputs; ++o) {
    double sum = 0, count = 0;
    for (int64_t i = 0; i < p.n; ++i) {
      if (!(weight[i] > 0)) continue;
      sum += p.targets[i * p.outputs + o];
      count += 1;
    }
    const double mean = count > 0 ? sum / count : 0.0;
    if (!std::isfinite(mean)) continue;
    p.center[o] = mean;
    for (int64_t i = 0; i < p.n; ++i) p.targets[i * p.outputs + o] -= mean;
  }
}

}  // namespace cart

template <ffi::DataType D>
static ffi::Error Grow(ffi::ThreadPool pool, ffi::AnyBuffer codes, ffi::Buffer<D> low,
                       ffi::Buffer<D> high, ffi::Buffer<ffi::S32> labels,
                       ffi::Buffer<D> target, ffi::Buffer<D> weight, ffi::Buffer<D> limits,
                       ffi::Buffer<ffi::U32> seeds, int32_t criterion, int32_t random,
                       int32_t max_depth, int32_t max_leaves, int32_t max_features,
                       int32_t classes, int32_t shuffle, ffi::ResultBuffer<ffi::S32> left,
                       ffi::ResultBuffer<ffi::S32> right, ffi::ResultBuffer<ffi::S32> feature,
                       ffi::ResultBuffer<D> threshold, ffi::ResultBuffer<ffi::PRED> missing,
                       ffi::ResultBuffer<D> value, ffi::ResultBuffer<D> impurity,
                       ffi::ResultBuffer<ffi::S32> count, ffi::ResultBuffer<D> weights,
                       ffi::ResultBuffer<ffi::S32> node_count,
                       ffi::ResultBuffer<ffi::PRED> full) {
  using T = ffi::NativeType<D>;
  return guarded([&] {
    cart::Problem p{};
    p.n = codes.dimensions()[0];
    p.d = codes.dimensions()[1];
    p.bins = low.dimensions()[1];
    const int64_t trees = weight.dimensions()[0];
    const int64_t targets = classes ? labels.element_count() : target.element_count();
    p.outputs = p.n ? targets / p.n : 0;
    p.classes = classes;
    p.criterion = criterion;
    p.random = random;
    p.shuffle = shuffle;
    p.single = sizeof(T) == 4;
    p.max_depth = max_depth;
    p.max_leaves = max_leaves;
    p.max_features = std::min<int64_t>(max_features, p.d);
    p.capacity = left->dimensions()[1];
    const bool fits =
        p.n > 0 && p.d > 0 && p.bins > 0 && p.capacity > 0 && p.outputs > 0 &&
        p.max_features > 0 && targets == p.n * p.outputs &&
        low.element_count() == size_t(p.d * p.bins) &&
        high.element_count() == low.element_count() &&
        weight.element_count() == size_t(trees * p.n) && limits.element_count() == 4 &&
        seeds.element_count() == size_t(trees) &&
        value->element_count() == size_t(trees * p.capacity * p.Values());
    if (!fits) return ffi::Error::InvalidArgument("cart: shapes do not fit together");
    const T* limit = limits.typed_data();
    p.min_split = limit[0];
    p.min_leaf = limit[1];
    p.min_fraction = limit[2];
    p.min_decrease = limit[3];
    p.low.assign(low.typed_data(), low.typed_data() + p.d * p.bins);
    p.high.assign(high.typed_data(), high.typed_data() + p.d * p.bins);
    p.labels = labels.typed_data();
    if (!classes) cart::Center(p, target.typed_data(), weight.typed_data());
    const cart::Arrays<T> out{
        left->typed_data(),       right->typed_data(), feature->typed_data(),
        count->typed_data(),      node_count->typed_data(), threshold->typed_data(),
        value->typed_data(),      impurity->typed_data(),   weights->typed_data(),
        missing->typed_data(),    full->typed_data()};
    const T* w = weight.typed_data();
    const uint32_t* s = seeds.typed_data();
    if (codes.element_type() == ffi::U8) {
      return cart::GrowKind(p, static_cast<const uint8_t*>(codes.untyped_data()), w, s,
                            trees, out, pool);
    }
    if (codes.element_type() == ffi::U16) {
      return cart::GrowKind(p, static_cast<const uint16_t*>(codes.untyped_data()), w, s,
                            trees, out, pool);
    }
    return ffi::Error::InvalidArgument("cart: codes must be uint8 or uint16");
  });
}

#define JAXML_CART(NAME, D)                                       \
  XLA_FFI_DEFINE_HANDLER_SYMBOL(NAME, Grow<D>,                    \
                                ffi::Ffi::Bind()                  \
                                    .Ctx<ffi::ThreadPool>()       \
                                    .Arg<ffi::AnyBuffer>()        \
                                    .Arg<ffi::Buffer<D>>()        \
                                    .Arg<ffi::Buffer<D>>()        \
                                    .Arg<ffi::Buffer<ffi::S32>>() \
                                    .Arg<ffi::Buffer<D>>()        \
                                    .Arg<ffi::Buffer<D>>()        \
                                    .Arg<ffi::Buffer<D>>()        \
                                    .Arg<ffi::Buffer<ffi::U32>>() \
                                    .Attr<int32_t>("criterion")   \
                                    .Attr<int32_t>("random")      \
                                    .Attr<int32_t>("max_depth")   \
                                    .Attr<int32_t>("max_leaves")  \
                                    .Attr<int32_t>("max_features") \
                                    .Attr<int32_t>("classes")     \
                                    .Attr<int32_t>("shuffle")     \
                                    .Ret<ffi::Buffer<ffi::S32>>() \
                                    .Ret<ffi::Buffer<ffi::S32>>() \
                                    .Ret<ffi::Buffer<ffi::S32>>() \
                                    .Ret<ffi::Buffer<D>>()        \
                                    .Ret<ffi::Buffer<ffi::PRED>>() \
                                    .Ret<ffi::Buffer<D>>()        \
                                    .Ret<ffi::Buffer<D>>()        \
                                    .Ret<ffi::Buffer<ffi::S32>>() \
                                    .Ret<ffi::Buffer<D>>()        \
                                    .Ret<ffi::Buffer<ffi::S32>>() \
                                    .Ret<ffi::Buffer<ffi::PRED>>())

JAXML_CART(cart_grow_float32, ffi::F32);
JAXML_CART(cart_grow_float64, ffi::F64);
