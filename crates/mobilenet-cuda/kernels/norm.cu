// Batch norm and the activation after it: y = act((x - mean) * scale + bias), scale = weight / sqrt(var + eps).
//
// `affine` is [4][c]: mean, scale, bias, and what rounding took from the mean. `slopes` is [2][c]: slope and offset of
// gx = scale * g + slope * (x - mean) + offset.

// Of `V` channels: mean, scale, bias.
template <int V> struct Affine {
    float mean[V], scale[V], bias[V];
    DEVICE Affine(const float *affine, int c, int c0) {
        load<V>(affine + c0, mean);
        load<V>(affine + c + c0, scale);
        load<V>(affine + 2 * c + c0, bias);
    }
    DEVICE float operator()(float x, int i) const { return (x - mean[i]) * scale[i] + bias[i]; }
};

// column_stats: x [rows, c] -> part [3][parts][c], the moments of each channel. Launch: channels by parts (passes over
// rows). Cost: reads x once.
template <int V> DEVICE void column_stats(const X *x, float *part, int rows, int c) {
    __shared__ Moments scratch[V * ROW_THREADS];
    const int c0 = first_channel<V>();
    RunningMoments<V> moments;
    moments.begin();
    if (c0 < c) {
        for (Index row = first_row(); row < rows; row += row_step()) {
            float v[V];
            load<V>(x + row * c + c0, v);
            moments.add(v);
        }
    }
    moments.write(part, c, scratch);
}
KERNELS(column_stats, ROW_THREADS, (const X *x, float *part, int rows, int c), (x, part, rows, c))

// column_sums: x [rows, c] -> part [parts][c]. Launch: channels by parts. Cost: reads x once.
template <int V> DEVICE void column_sums(const X *x, float *part, int rows, int c) {
    __shared__ float scratch[4 * ROW_THREADS];
    const int c0 = first_channel<V>();
    float sum[V];
    UNROLL for (int i = 0; i < V; i++) sum[i] = 0.f;
    if (c0 < c) {
        for (Index row = first_row(); row < rows; row += row_step()) {
            float v[V];
            load<V>(x + row * c + c0, v);
            UNROLL for (int i = 0; i < V; i++) sum[i] += v[i];
        }
    }
    add_up_rows<V>(sum, scratch);
    if (threadIdx.y == 0 && c0 < c) store<V>(part + (Index)blockIdx.y * c + c0, sum);
}
KERNELS(column_sums, ROW_THREADS, (const X *x, float *part, int rows, int c), (x, part, rows, c))

// normalize: y = act(bn(x)) * gate, x [rows, c] -> y [rows, c] as T, and as float where `y32` is given; gate [n, c] or
// null, an image having so many pixels. Launch: channels by parts. Cost: reads x, writes y.
template <int V>
DEVICE void normalize(const X *x, const float *affine, int act, const float *gate, int pixels, T *y, float *y32, int rows,
                      int c) {
    const int c0 = first_channel<V>();
    if (c0 >= c) return;
    const Affine<V> bn(affine, c, c0);
    for (Index row = first_row(); row < rows; row += row_step()) {
        float v[V], g[V];
        load<V>(x + row * c + c0, v);
        UNROLL for (int i = 0; i < V; i++) v[i] = activate(act, bn(v[i], i));
        if (gate) {
            load<V>(gate + (Index)((int)row / pixels) * c + c0, g);
            UNROLL for (int i = 0; i < V; i++) v[i] *= g[i];
        }
        store<V>(y + row * c + c0, v);
        if (y32) store<V>(y32 + row * c + c0, v);
    }
}
KERNELS(normalize, ROW_THREADS,
        (const X *x, const float *affine, int act, const float *gate, int pixels, T *y, float *y32, int rows, int c),
        (x, affine, act, gate, pixels, y, y32, rows, c))

// output: y = (p - mean) * scale + bias + x, a block's last pass; bias [c] and x [rows, c] may be null. Writes y as T,
// and as float where `y32` is given; part [parts][c] is the sums of what T holds, where it is given. Launch: channels
// by parts. Cost: reads p and x, writes y once or twice.
template <int V>
DEVICE void output(const float *p, const float *affine, const float *bias, const float *x, T *y, float *y32, float *part,
                   int rows, int c) {
    __shared__ float scratch[4 * ROW_THREADS];
    const int c0 = first_channel<V>();
    float sum[V];
    UNROLL for (int i = 0; i < V; i++) sum[i] = 0.f;
    if (c0 < c) {
        float mean[V], scale[V], shift[V];
        load<V>(affine + c0, mean);
        load<V>(affine + c + c0, scale);
        UNROLL for (int i = 0; i < V; i++) shift[i] = bias ? bias[c0 + i] : 0.f;
        for (Index row = first_row(); row < rows; row += row_step()) {
            float v[V], r[V];
            load<V>(p + row * c + c0, v);
            UNROLL for (int i = 0; i < V; i++) v[i] = (v[i] - mean[i]) * scale[i] + shift[i];
            if (x) {
                load<V>(x + row * c + c0, r);
                UNROLL for (int i = 0; i < V; i++) v[i] += r[i];
            }
            if (y32) store<V>(y32 + row * c + c0, v);
            store<V>(y + row * c + c0, v);
            UNROLL for (int i = 0; i < V; i++) sum[i] += rounded<T>(v[i]);
        }
    }
    if (!part) return;
    add_up_rows<V>(sum, scratch);
    if (threadIdx.y == 0 && c0 < c) store<V>(part + (Index)blockIdx.y * c + c0, sum);
}
KERNELS(output, ROW_THREADS,
        (const float *p, const float *affine, const float *bias, const float *x, T *y, float *y32, float *part, int rows, int c),
        (p, affine, bias, x, y, y32, part, rows, c))

// The gradient of act(bn(x)) at a row: that of the row, or of its image, divided by the image's pixels.
template <int V> DEVICE void load_gradient(const float *gy, Index row, int pixels, int c, int c0, float (&g)[V]) {
    if (pixels == 0) {
        load<V>(gy + row * c + c0, g);
        return;
    }
    load<V>(gy + (Index)((int)row / pixels) * c + c0, g);
    UNROLL for (int i = 0; i < V; i++) g[i] /= (float)pixels;
}

// norm_backward_sums: with g = gy * act'(bn(x)), part [2][parts][c] = sums of g and of g * (x - mean). gy is [rows, c],
// or [n, c] of a mean over an image's pixels (pixels > 0). Launch: channels by parts. Cost: reads gy and x.
template <int V>
DEVICE void norm_backward_sums(const float *gy, const X *x, const float *affine, int act, int pixels, float *part, int rows,
                               int c) {
    __shared__ float scratch[4 * ROW_THREADS];
    const int c0 = first_channel<V>();
    float sum[V], dot[V];
    UNROLL for (int i = 0; i < V; i++) sum[i] = dot[i] = 0.f;
    if (c0 < c) {
        const Affine<V> bn(affine, c, c0);
        for (Index row = first_row(); row < rows; row += row_step()) {
            float v[V], g[V];
            load<V>(x + row * c + c0, v);
            load_gradient<V>(gy, row, pixels, c, c0, g);
            UNROLL for (int i = 0; i < V; i++) {
                g[i] *= derivative(act, bn(v[i], i));
                sum[i] += g[i];
                dot[i] += g[i] * (v[i] - bn.mean[i]);
            }
        }
    }
    add_up_rows<V>(sum, scratch);
    add_up_rows<V>(dot, scratch);
    if (threadIdx.y == 0 && c0 < c) {
        store<V>(part + (Index)blockIdx.y * c + c0, sum);
        store<V>(part + (Index)(gridDim.y + blockIdx.y) * c + c0, dot);
    }
}
KERNELS(norm_backward_sums, ROW_THREADS,
        (const float *gy, const X *x, const float *affine, int act, int pixels, float *part, int rows, int c),
        (gy, x, affine, act, pixels, part, rows, c))

// norm_backward_apply: gx = scale * gy * act'(bn(x)) + slope * (x - mean) + offset, as T. gy as in norm_backward_sums.
// Launch: channels by parts. Cost: reads gy and x, writes gx.
template <int V>
DEVICE void norm_backward_apply(const float *gy, const X *x, const float *affine, const float *slopes, int act, int pixels,
                                T *gx, int rows, int c) {
    const int c0 = first_channel<V>();
    if (c0 >= c) return;
    const Affine<V> bn(affine, c, c0);
    float slope[V], offset[V];
    load<V>(slopes + c0, slope);
    load<V>(slopes + c + c0, offset);
    for (Index row = first_row(); row < rows; row += row_step()) {
        float v[V], g[V];
        load<V>(x + row * c + c0, v);
        load_gradient<V>(gy, row, pixels, c, c0, g);
        UNROLL for (int i = 0; i < V; i++) {
            g[i] *= derivative(act, bn(v[i], i));
            g[i] = bn.scale[i] * g[i] + slope[i] * (v[i] - bn.mean[i]) + offset[i];
        }
        store<V>(gx + row * c + c0, g);
    }
}
KERNELS(norm_backward_apply, ROW_THREADS,
        (const float *gy, const X *x, const float *affine, const float *slopes, int act, int pixels, T *gx, int rows, int c),
        (gy, x, affine, slopes, act, pixels, gx, rows, c))

// act_backward: g = (ga * gate + gmean) * act'(bn(d)), in place, and part as in norm_backward_sums. gate and gmean are
// [n, c], or null. ga is X, which g is stored as T over where X is T, and elsewhere to `g`. Launch: channels by parts.
// Cost: reads ga and d, writes g.
template <int V>
DEVICE void act_backward(const X *ga, const T *d, const float *affine, int act, const float *gate, const float *gmean,
                         int pixels, T *g, float *part, int rows, int c) {
    __shared__ float scratch[4 * ROW_THREADS];
    const int c0 = first_channel<V>();
    float sum[V], dot[V];
    UNROLL for (int i = 0; i < V; i++) sum[i] = dot[i] = 0.f;
    if (c0 < c) {
        const Affine<V> bn(affine, c, c0);
        for (Index row = first_row(); row < rows; row += row_step()) {
            float v[V], a[V];
            load<V>(d + row * c + c0, v);
            load<V>(ga + row * c + c0, a);
            if (gate) {
                float s[V], m[V];
                load<V>(gate + (Index)((int)row / pixels) * c + c0, s);
                load<V>(gmean + (Index)((int)row / pixels) * c + c0, m);
                UNROLL for (int i = 0; i < V; i++) a[i] = a[i] * s[i] + m[i];
            }
            UNROLL for (int i = 0; i < V; i++) {
                a[i] *= derivative(act, bn(v[i], i));
                sum[i] += a[i];
                dot[i] += a[i] * (v[i] - bn.mean[i]);
            }
            store<V>(g + row * c + c0, a);
        }
    }
    add_up_rows<V>(sum, scratch);
    add_up_rows<V>(dot, scratch);
    if (threadIdx.y == 0 && c0 < c) {
        store<V>(part + (Index)blockIdx.y * c + c0, sum);
        store<V>(part + (Index)(gridDim.y + blockIdx.y) * c + c0, dot);
    }
}
KERNELS(act_backward, ROW_THREADS,
        (const X *ga, const T *d, const float *affine, int act, const float *gate, const float *gmean, int pixels, T *g,
         float *part, int rows, int c),
        (ga, d, affine, act, gate, gmean, pixels, g, part, rows, c))
