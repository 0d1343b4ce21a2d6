// Optimizer steps over flat buffers. Every kernel reads and writes each row once, 16 bytes at a
// time, and does so little arithmetic that it runs at the speed of memory: AdamW moves 28 bytes per
// f32 value, and 2 more where a rounded copy is written.
#include "tensor/optimizer_step.h"
#include "tensor/step_decision.h"

#include <algorithm>
#include <cmath>

#include "tensor/cuda/block_reduce.cuh"
#include "tensor/cuda/element.cuh"
#include "tensor/cuda/runtime.h"

namespace proxent::kernel {
namespace {
using cuda::elements;
using cuda::kPackSize;
using cuda::Pack;

constexpr unsigned kThreads = 256;

// LiveNumber on the device.
struct Number {
  double factor;
  const double* live;
  __device__ double now() const { return live ? factor * *live : factor; }
};
Number number_of(const LiveNumber& number) {
  return {number.factor, number.live.is_defined() ? elements<double>(number.live) : nullptr};
}

// What StepCopies names.
template <class T, class Half>
struct Copies {
  Half* rounded;
  T* average;
  Number share;
};

template <class T>
struct PlainFactors {
  T rate, scale, share;  // share: of the average
  bool is_step;
};
template <class T>
__device__ PlainFactors<T> plain_factors(const Number& learning_rate,
                                         const Number& gradient_scale) {
  const double scale = gradient_scale.now();
  return {T(learning_rate.now()), T(scale), T(0), static_cast<bool>(isfinite(scale))};
}
// Rules compute their factors in double, once per block, and then step one element. m and s are the
// elements of the rows beside the value that the optimizer keeps.
template <class T>
struct Sgd {
  using Factors = PlainFactors<T>;
  static constexpr int kMoments = 1;

  Number learning_rate, gradient_scale;
  T decay, momentum;
  bool is_nesterov;

  __device__ Factors factors() const { return plain_factors<T>(learning_rate, gradient_scale); }
  __device__ void step(const Factors& f, T g, T& x, T& v, T&) const {
    const T slope = f.scale * g + decay * x;
    v = momentum * v + slope;
    x -= f.rate * (is_nesterov ? slope + momentum * v : v);
  }
};

template <class T>
struct AdamFactors {
  T rate, widen, shrink, scale, share;
  bool is_step;
};
template <class T>
struct Adam {
  using Factors = AdamFactors<T>;
  static constexpr int kMoments = 2;

  Number learning_rate, gradient_scale, count;
  double beta1, beta2, decoupled_decay;
  T decay, keep1, add1, keep2, add2, epsilon;

  __device__ Factors factors() const {
    const double rate = learning_rate.now(), scale = gradient_scale.now(), steps = count.now();
    return {T(rate / (1 - pow(beta1, steps))),
            T(1 / sqrt(1 - pow(beta2, steps))),
            T(1 - rate * decoupled_decay),
            T(scale),
            T(0),
            static_cast<bool>(isfinite(scale))};
  }
  __device__ void step(const Factors& f, T g, T& x, T& m, T& s) const {
    const T slope = f.scale * g + decay * x;
    m = keep1 * m + add1 * slope;
    s = keep2 * s + add2 * slope * slope;
    x = f.shrink * x - f.rate * m / (sqrt(s) * f.widen + epsilon);
  }
};

template <class T>
struct Rmsprop {
  using Factors = PlainFactors<T>;
  static constexpr int kMoments = 2;

  Number learning_rate, gradient_scale;
  T decay, keep, add, momentum, epsilon;

  __device__ Factors factors() const { return plain_factors<T>(learning_rate, gradient_scale); }
  __device__ void step(const Factors& f, T g, T& x, T& v, T& s) const {
    const T slope = f.scale * g + decay * x;
    s = keep * s + add * slope * slope;
    v = momentum * v + slope / (sqrt(s) + epsilon);
    x -= f.rate * v;
  }
};

// The first `count` elements at `from`, zeros behind; whole packs where they may be read. The loops
// have a constant number of turns, so that packs stay in registers.
template <int kCount, class T>
__device__ Pack<T, kCount> load(const T* from, int count, bool is_aligned) {
  if (is_aligned && count == kCount) return cuda::load_pack<kCount>(from);
  Pack<T, kCount> pack{};
#pragma unroll
  for (int i = 0; i < kCount; ++i)
    if (i < count) pack.at[i] = from[i];
  return pack;
}
template <int kCount, class T>
__device__ void store(T* to, const Pack<T, kCount>& pack, int count, bool is_aligned) {
  if (is_aligned && count == kCount) return cuda::store_pack<kCount>(to, pack);
#pragma unroll
  for (int i = 0; i < kCount; ++i)
    if (i < count) to[i] = pack.at[i];
}

// The rows of a step; those that there are none of are null.
template <class T>
struct Rows {
  const T* gradient;
  T *value, *first_moment, *second_moment;
  std::int64_t n;
  bool is_aligned;
};

// A pack of every row per thread and turn; blocks stride over the rows, so that few have to compute
// the factors.
template <class Rule, class T, class Half>
__global__ void step_kernel(Rule rule, Rows<T> rows, Copies<T, Half> copies) {
  constexpr int kCount = kPackSize<T>;
  __shared__ typename Rule::Factors factors;
  if (threadIdx.x == 0) {
    factors = rule.factors();
    factors.share = T(copies.share.now());
  }
  __syncthreads();
  if (!factors.is_step) return;

  const std::int64_t stride = std::int64_t{gridDim.x} * blockDim.x * kCount;
  std::int64_t at = (std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x) * kCount;
  for (; at < rows.n; at += stride) {
    const int count = static_cast<int>(min(std::int64_t{kCount}, rows.n - at));
    const bool is_aligned = rows.is_aligned;
    const auto g = load<kCount>(rows.gradient + at, count, is_aligned);
    auto x = load<kCount>(rows.value + at, count, is_aligned);
    Pack<T, kCount> m{}, s{};
    if (rows.first_moment) m = load<kCount>(rows.first_moment + at, count, is_aligned);
    if (Rule::kMoments > 1) s = load<kCount>(rows.second_moment + at, count, is_aligned);
    for (int i = 0; i < kCount; ++i) rule.step(factors, g.at[i], x.at[i], m.at[i], s.at[i]);

    store<kCount>(rows.value + at, x, count, is_aligned);
    if (rows.first_moment) store<kCount>(rows.first_moment + at, m, count, is_aligned);
    if (Rule::kMoments > 1) store<kCount>(rows.second_moment + at, s, count, is_aligned);
    if (copies.rounded) {
      Pack<Half, kCount> rounded;
      for (int i = 0; i < kCount; ++i)
        rounded.at[i] = cuda::round_to<Half>(static_cast<float>(x.at[i]));
      store<kCount>(copies.rounded + at, rounded, count, is_aligned);
    }
    if (copies.average) {
      auto average = load<kCount>(copies.average + at, count, is_aligned);
      for (int i = 0; i < kCount; ++i) average.at[i] += factors.share * (x.at[i] - average.at[i]);
      store<kCount>(copies.average + at, average, count, is_aligned);
    }
  }
}

bool are_aligned(std::initializer_list<const Tensor*> rows, const StepCopies& copies) {
  bool are_all = cuda::are_aligned({copies.rounded.raw(), copies.average.raw()});
  for (const Tensor* row : rows) are_all &= cuda::are_aligned({row->raw()});
  return are_all;
}

// Blocks for n elements in packs of per_thread, as many as run at once at most.
unsigned striding_blocks(std::int64_t n, int per_thread) {
  constexpr int kBlocksPerMultiprocessor = 8;  // x 256 threads: all that it holds
  return std::min(cuda::blocks_for(n, std::int64_t{kThreads} * per_thread),
                  static_cast<unsigned>(cuda::multiprocessors() * kBlocksPerMultiprocessor));
}

template <class T, class Half, class Rule>
void run_step(const Rule& rule, const Rows<T>& rows, StepCopies& copies) {
  const Copies<T, Half> out{elements<Half>(copies.rounded), elements<T>(copies.average),
                            number_of(copies.average_share)};
  cuda::launch_kernel(step_kernel<Rule, T, Half>, striding_blocks(rows.n, kPackSize<T>), kThreads,
                      0, rule, rows, out);
}
template <class T, class Rule>
void run_step(const Rule& rule, const Rows<T>& rows, StepCopies& copies) {
  if (copies.rounded.is_defined() && copies.rounded.dtype() == DType::f16)
    return run_step<T, __half>(rule, rows, copies);
  run_step<T, __nv_bfloat16>(rule, rows, copies);
}

// A share of the sum of x's squares per block, in double. Which elements a thread takes, and in
// which order they are added, follows from n and the number of blocks.
template <class T>
__global__ void squares_kernel(const T* x, std::int64_t n, bool is_aligned, double* sums) {
  constexpr int kCount = kPackSize<T>;
  const std::int64_t stride = std::int64_t{gridDim.x} * blockDim.x * kCount;
  std::int64_t at = (std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x) * kCount;
  double sum = 0;
  for (; at < n; at += stride) {
    const int count = static_cast<int>(min(std::int64_t{kCount}, n - at));
    const auto pack = load<kCount>(x + at, count, is_aligned);
    for (int i = 0; i < kCount; ++i) sum += double(pack.at[i]) * double(pack.at[i]);
  }
  sum = cuda::block_sum(sum);
  if (threadIdx.x == 0) sums[blockIdx.x] = sum;
}
__global__ void total_kernel(const double* sums, int count, double* total) {
  double sum = 0;
  for (int i = threadIdx.x; i < count; i += blockDim.x) sum += sums[i];
  sum = cuda::block_sum(sum);
  if (threadIdx.x == 0) *total = sum;
}

template <class T>
__global__ void move_towards_kernel(const T* target, Number share, T* x, std::int64_t n,
                                    bool is_aligned) {
  constexpr int kCount = kPackSize<T>;
  const std::int64_t at = (std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x) * kCount;
  if (at >= n) return;
  const int count = static_cast<int>(min(std::int64_t{kCount}, n - at));
  const T part = T(share.now());
  const auto to = load<kCount>(target + at, count, is_aligned);
  auto from = load<kCount>(x + at, count, is_aligned);
  for (int i = 0; i < kCount; ++i) from.at[i] += part * (to.at[i] - from.at[i]);
  store<kCount>(x + at, from, count, is_aligned);
}

// One thread: a dozen numbers.
__global__ void decide_step_kernel(StepNumbers state, double clip_norm, LossScaling scaling) {
  decide(clip_norm, scaling, state);
}
}  // namespace

void sgd_step(Cuda, const SgdStep& step, const Tensor& gradient, Tensor& value, Tensor& velocity,
              StepCopies& copies) {
  visit_float(value.dtype(), [&](auto zero) {
    using T = decltype(zero);
    const Sgd<T> rule{.learning_rate = number_of(step.learning_rate),
                      .gradient_scale = number_of(step.gradient_scale),
                      .decay = T(step.weight_decay),
                      .momentum = T(step.momentum),
                      .is_nesterov = step.is_nesterov};
    run_step<T>(rule,
                {.gradient = elements<T>(gradient),
                 .value = elements<T>(value),
                 .first_moment = step.momentum != 0 ? elements<T>(velocity) : nullptr,
                 .second_moment = nullptr,
                 .n = value.numel(),
                 .is_aligned = are_aligned({&gradient, &value, &velocity}, copies)},
                copies);
  });
}

void adam_step(Cuda, const AdamStep& step, const Tensor& gradient, Tensor& value, Tensor& mean,
               Tensor& square, StepCopies& copies) {
  visit_float(value.dtype(), [&](auto zero) {
    using T = decltype(zero);
    const Adam<T> rule{.learning_rate = number_of(step.learning_rate),
                       .gradient_scale = number_of(step.gradient_scale),
                       .count = number_of(step.step),
                       .beta1 = step.beta1,
                       .beta2 = step.beta2,
                       .decoupled_decay = step.is_decoupled ? step.weight_decay : 0,
                       .decay = T(step.is_decoupled ? 0 : step.weight_decay),
                       .keep1 = T(step.beta1),
                       .add1 = T(1 - step.beta1),
                       .keep2 = T(step.beta2),
                       .add2 = T(1 - step.beta2),
                       .epsilon = T(step.epsilon)};
    run_step<T>(rule,
                {.gradient = elements<T>(gradient),
                 .value = elements<T>(value),
                 .first_moment = elements<T>(mean),
                 .second_moment = elements<T>(square),
                 .n = value.numel(),
                 .is_aligned = are_aligned({&gradient, &value, &mean, &square}, copies)},
                copies);
  });
}

void rmsprop_step(Cuda, const RmspropStep& step, const Tensor& gradient, Tensor& value,
                  Tensor& velocity, Tensor& square, StepCopies& copies) {
  visit_float(value.dtype(), [&](auto zero) {
    using T = decltype(zero);
    const Rmsprop<T> rule{.learning_rate = number_of(step.learning_rate),
                          .gradient_scale = number_of(step.gradient_scale),
                          .decay = T(step.weight_decay),
                          .keep = T(step.alpha),
                          .add = T(1 - step.alpha),
                          .momentum = T(step.momentum),
                          .epsilon = T(step.epsilon)};
    run_step<T>(rule,
                {.gradient = elements<T>(gradient),
                 .value = elements<T>(value),
                 .first_moment = step.momentum != 0 ? elements<T>(velocity) : nullptr,
                 .second_moment = elements<T>(square),
                 .n = value.numel(),
                 .is_aligned = are_aligned({&gradient, &value, &velocity, &square}, copies)},
                copies);
  });
}

void sum_of_squares(Cuda, const Tensor& x, Tensor& sum) {
  visit_float(x.dtype(), [&](auto zero) {
    using T = decltype(zero);
    // By x's size alone, so that the order is the same on every GPU; 1024 blocks fill any of them.
    constexpr std::int64_t kMostBlocks = 1024, kPerBlock = 4 * kThreads * kPackSize<T>;
    const auto blocks = std::min(kMostBlocks, (x.numel() + kPerBlock - 1) / kPerBlock);
    Tensor sums({blocks}, DType::f64, Device::cuda);
    cuda::launch_kernel(squares_kernel<T>, static_cast<unsigned>(blocks), kThreads, 0,
                        elements<T>(x), x.numel(), cuda::are_aligned({x.raw()}),
                        elements<double>(sums));
    cuda::launch_kernel(total_kernel, 1, kThreads, 0, elements<double>(sums),
                        static_cast<int>(blocks), elements<double>(sum));
  });
}

void move_towards(Cuda, const Tensor& target, const LiveNumber& share, Tensor& x) {
  visit_float(x.dtype(), [&](auto zero) {
    using T = decltype(zero);
    cuda::launch_kernel(move_towards_kernel<T>,
                        cuda::blocks_for(x.numel(), std::int64_t{kThreads} * kPackSize<T>),
                        kThreads, 0, elements<T>(target), number_of(share), elements<T>(x),
                        x.numel(), cuda::are_aligned({target.raw(), x.raw()}));
  });
}

void decide_step(Cuda, double clip_norm, const LossScaling& scaling, StepState& state) {
  const Tensor& clipped = state.clipped.is_defined() ? state.clipped : state.squares;
  cuda::launch_kernel(decide_step_kernel, 1, 1, 0,
                      StepNumbers{.loss = elements<double>(state.loss),
                                  .squares = elements<double>(state.squares),
                                  .clipped = elements<double>(clipped),
                                  .moves = elements<double>(state.moves),
                                  .counts = elements<double>(state.counts),
                                  .loss_scale = elements<double>(state.loss_scale),
                                  .norm = elements<double>(state.norm),
                                  .scale = elements<double>(state.scale),
                                  .groups = state.squares.numel()},
                      clip_norm, scaling);
}

}  // namespace proxent::kernel
