// oneDNN computes from NHWC images as they are, but wants weights in blocked layouts of its choice,
// another one for each direction. A plan holds the primitive and these reorders for one set of
// sizes; plans are made once and kept.
#include "tensor/onednn/conv.h"

#include <omp.h>

#include <array>
#include <map>
#include <memory>
#include <mutex>
#include <oneapi/dnnl/dnnl.hpp>
#include <optional>
#include <string_view>
#include <tuple>

#include "tensor/onednn/weight_layout.h"

namespace proxent::onednn {
namespace {

using dnnl::memory;
using Tag = memory::format_tag;

enum class Direction : std::int64_t { forward, dx, dw };

dnnl::engine& cpu_engine() {
  static dnnl::engine engine(dnnl::engine::kind::cpu, 0);
  return engine;
}

// Sizes in oneDNN's order, which is NCHW and OIHW whatever the layout.
struct Sizes {
  memory::dims x, w, y, stride, padding;
  Shape w_shape;
  Sizes(const Shape& x, const Shape& w, const Shape& y, const Conv2dOptions& options)
      : x(dims(x)),
        w(dims(w)),
        y(dims(y)),
        stride{options.stride, options.stride},
        padding{options.padding, options.padding},
        w_shape(w) {}
  static memory::dims dims(const Shape& s) { return {s[0], s[3], s[1], s[2]}; }
};

memory::desc describe(const memory::dims& sizes, Tag layout) {
  return {sizes, memory::data_type::f32, layout};
}

// Scratch memory comes from our pool, so that it is counted and nothing is allocated behind it.
dnnl::primitive_attr attributes() {
  dnnl::primitive_attr attributes;
  attributes.set_scratchpad_mode(dnnl::scratchpad_mode::user);
  return attributes;
}

memory over(const memory::desc& desc, const Tensor& tensor) {
  return memory(desc, cpu_engine(), const_cast<std::byte*>(tensor.raw()));
}

// A tensor of ours that the primitive reads or writes, perhaps in another layout.
class Operand {
 public:
  Operand(int argument, memory::desc ours, memory::desc theirs, bool is_output,
          std::optional<Shape> weights = {})
      : argument_(argument), ours_(ours), theirs_(theirs), is_output_(is_output) {
    if (ours_ == theirs_) return;
    if (weights) layout_ = WeightLayout::of(theirs_, *weights);
    if (layout_) return;
    const auto& from = is_output ? theirs_ : ours_;
    const auto& to = is_output ? ours_ : theirs_;
    reorder_.emplace(dnnl::reorder::primitive_desc(cpu_engine(), from, cpu_engine(), to));
  }

  int argument() const { return argument_; }
  // What the primitive gets: `tensor`, or a blocked copy of it.
  Tensor before(dnnl::stream& stream, const Tensor& tensor) const {
    if (!layout_ && !reorder_) return tensor;
    Tensor blocked({static_cast<std::int64_t>(theirs_.get_size()) / 4}, DType::f32);
    if (!is_output_ && layout_)
      layout_->pack(tensor.data<float>(), blocked.data<float>());
    else if (!is_output_)
      move(stream, ours_, tensor, theirs_, blocked);
    return blocked;
  }
  memory seen(const Tensor& tensor) const { return over(theirs_, tensor); }
  // Brings the result home.
  void after(dnnl::stream& stream, const Tensor& blocked, Tensor& tensor) const {
    if (!is_output_) return;
    if (layout_)
      layout_->unpack(blocked.data<float>(), tensor.data<float>());
    else if (reorder_)
      move(stream, theirs_, blocked, ours_, tensor);
  }

 private:
  void move(dnnl::stream& stream, const memory::desc& from_desc, const Tensor& from,
            const memory::desc& to_desc, const Tensor& to) const {
    reorder_->execute(stream,
                      {{DNNL_ARG_FROM, over(from_desc, from)}, {DNNL_ARG_TO, over(to_desc, to)}});
    stream.wait();
  }

  int argument_;
  memory::desc ours_, theirs_;
  bool is_output_;
  // At most one of the two.
  std::optional<WeightLayout> layout_;
  std::optional<dnnl::reorder> reorder_;
};

struct Plan {
  dnnl::primitive primitive;
  Operand first, second, output;
  memory::desc scratch;

  void run(const Tensor& a, const Tensor& b, Tensor& y) const {
    static thread_local dnnl::stream stream(cpu_engine());
    const Tensor seen_a = first.before(stream, a), seen_b = second.before(stream, b);
    const Tensor seen_y = output.before(stream, y);
    const Tensor scratchpad({static_cast<std::int64_t>(scratch.get_size())}, DType::u8);
    primitive.execute(stream, {{first.argument(), first.seen(seen_a)},
                               {second.argument(), second.seen(seen_b)},
                               {output.argument(), output.seen(seen_y)},
                               {DNNL_ARG_SCRATCHPAD, over(scratch, scratchpad)}});
    stream.wait();
    output.after(stream, seen_y, y);
  }
};
using PlanPointer = std::shared_ptr<const Plan>;

// True if the implementation is a real one.
template <class Descriptor>
bool is_fast(const Descriptor& descriptor) {
  return !std::string_view(descriptor.impl_info_str()).starts_with("ref");
}
template <class Descriptor>
bool is_product_of_unfolded_images(const Descriptor& descriptor) {
  return std::string_view(descriptor.impl_info_str()).find("gemm") != std::string_view::npos;
}

// oneDNN 3 dropped the descriptor that oneDNN 2 puts around a primitive's parameters. `hints` is
// empty, or the forward convolution's descriptor.
template <class Primitive, class... Hints, class... Parameters>
typename Primitive::primitive_desc describe_primitive(std::tuple<Hints...> hints,
                                                      const Parameters&... parameters) {
  return std::apply(
      [&](const auto&... hint) {
#if DNNL_VERSION_MAJOR >= 3
        return
            typename Primitive::primitive_desc(cpu_engine(), parameters..., hint..., attributes());
#else
        return typename Primitive::primitive_desc({parameters...}, attributes(), cpu_engine(),
                                                  hint...);
#endif
      },
      hints);
}

// A plan with images in `layout`; null if oneDNN has no fast code for it.
PlanPointer try_plan(Direction direction, const Sizes& z, Tag layout) {
  const auto x = describe(z.x, layout), y = describe(z.y, layout), w = describe(z.w, Tag::any);
  const auto our_x = describe(z.x, Tag::nhwc), our_y = describe(z.y, Tag::nhwc),
             our_w = describe(z.w, Tag::ohwi);
  constexpr auto algorithm = dnnl::algorithm::convolution_direct;
  using Forward = dnnl::convolution_forward;
  const auto forward =
      describe_primitive<Forward>(std::tuple(), dnnl::prop_kind::forward_training, algorithm, x, w,
                                  y, z.stride, z.padding, z.padding);
  if (direction == Direction::forward) {
    if (!is_fast(forward)) return nullptr;
    return PlanPointer(new Plan{Forward(forward),
                                {DNNL_ARG_SRC, our_x, forward.src_desc(), false},
                                {DNNL_ARG_WEIGHTS, our_w, forward.weights_desc(), false, z.w_shape},
                                {DNNL_ARG_DST, our_y, forward.dst_desc(), true},
                                forward.scratchpad_desc()});
  }
  if (direction == Direction::dx) {
    using Backward = dnnl::convolution_backward_data;
    const auto d = describe_primitive<Backward>(std::tuple(forward), algorithm, x, w, y, z.stride,
                                                z.padding, z.padding);
    if (!is_fast(d)) return nullptr;
    return PlanPointer(new Plan{Backward(d),
                                {DNNL_ARG_DIFF_DST, our_y, d.diff_dst_desc(), false},
                                {DNNL_ARG_WEIGHTS, our_w, d.weights_desc(), false, z.w_shape},
                                {DNNL_ARG_DIFF_SRC, our_x, d.diff_src_desc(), true},
                                d.scratchpad_desc()});
  }
  using Backward = dnnl::convolution_backward_weights;
  const auto d = describe_primitive<Backward>(std::tuple(forward), algorithm, x, w, y, z.stride,
                                              z.padding, z.padding);
  if (!is_fast(d)) return nullptr;
  // All that there is with AVX2 for a map smaller than the filter. Our loops, which leave out the
  // padding, take half its time, and nothing of its 75 MB (2x2x512, 3x3, 64 images).
  if (is_product_of_unfolded_images(d) && (z.x[2] < z.w[2] || z.x[3] < z.w[3])) return nullptr;
  return PlanPointer(
      new Plan{Backward(d),
               {DNNL_ARG_DIFF_DST, our_y, d.diff_dst_desc(), false},
               {DNNL_ARG_SRC, our_x, d.src_desc(), false},
               {DNNL_ARG_DIFF_WEIGHTS, our_w, d.diff_weights_desc(), true, z.w_shape},
               d.scratchpad_desc()});
}

// NHWC as it is, else a blocked layout of oneDNN's choice, else null.
PlanPointer make_plan(Direction direction, const Sizes& sizes) {
  for (const Tag layout : {Tag::nhwc, Tag::any}) try {
      if (PlanPointer plan = try_plan(direction, sizes, layout)) return plan;
    } catch (const dnnl::error& error) {
      if (error.status != dnnl_unimplemented) throw;
    }
  return nullptr;
}

// Everything a plan depends on, the number of threads included.
using Key = std::array<std::int64_t, 11>;
constexpr std::size_t kMostPlans = 1024;

PlanPointer plan_for(Direction direction, const Shape& x, const Shape& w, const Shape& y,
                     const Conv2dOptions& options) {
  static std::mutex mutex;
  static std::map<Key, PlanPointer> plans;
  const Key key{static_cast<std::int64_t>(direction),
                x[0],
                x[1],
                x[2],
                x[3],
                w[0],
                w[1],
                w[2],
                options.stride,
                options.padding,
                omp_get_max_threads()};
  std::lock_guard lock(mutex);
  if (auto found = plans.find(key); found != plans.end()) return found->second;
  if (plans.size() >= kMostPlans) plans.clear();
  return plans[key] = make_plan(direction, {x, w, y, options});
}

// oneDNN 2.6's AVX-512 code for the weights' gradient of a 1x1 convolution with a stride writes
// behind its scratch memory when x has fewer channels than a vector has floats.
bool writes_astray(Direction direction, const Shape& w, const Conv2dOptions& options) {
  return direction == Direction::dw && w[1] == 1 && w[2] == 1 && options.stride > 1 && w[3] < 16;
}

bool run(Direction direction, const Shape& x, const Shape& w, const Shape& y,
         const Conv2dOptions& options, const Tensor& a, const Tensor& b, Tensor& result) {
  if (x.numel() == 0 || w.numel() == 0 || writes_astray(direction, w, options)) return false;
  try {
    const PlanPointer plan = plan_for(direction, x, w, y, options);
    if (plan) plan->run(a, b, result);
    return plan != nullptr;
  } catch (const dnnl::error& error) {
    fail("conv2d: oneDNN failed with status ", error.status, " (", error.what(), ") for x ", x,
         " and w ", w, ", stride ", options.stride, ", padding ", options.padding);
  }
}

}  // namespace

bool conv2d(const Tensor& x, const Tensor& w, const Conv2dOptions& options, Tensor& y) {
  return run(Direction::forward, x.shape(), w.shape(), y.shape(), options, x, w, y);
}
bool conv2d_dx(const Tensor& dy, const Tensor& w, const Conv2dOptions& options, Tensor& dx) {
  return run(Direction::dx, dx.shape(), w.shape(), dy.shape(), options, dy, w, dx);
}
bool conv2d_dw(const Tensor& dy, const Tensor& x, const Conv2dOptions& options, Tensor& dw) {
  return run(Direction::dw, x.shape(), dw.shape(), dy.shape(), options, dy, x, dw);
}

}  // namespace proxent::onednn
