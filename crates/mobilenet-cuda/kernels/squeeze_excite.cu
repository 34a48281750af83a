// Means over pixels, and squeeze-and-excite: gates = h-sigmoid(relu(mean * w1^T + b1) * w2^T + b2), an image a row.

// pool_forward: mean [n, c] = the mean over an image's pixels of act(bn(x)), x [n * pixels, c]. Launch: blocks of
// channels by images; the rows of threads share the pixels. Cost: reads x once.
template <int V> DEVICE void pool_forward(const X *x, const float *affine, int act, int pixels, float *mean, int c) {
    __shared__ float scratch[4 * ROW_THREADS];
    const int c0 = first_channel<V>();
    float sum[V];
    UNROLL for (int i = 0; i < V; i++) sum[i] = 0.f;
    if (c0 < c) {
        float at[V], scale[V], bias[V];
        load<V>(affine + c0, at);
        load<V>(affine + c + c0, scale);
        load<V>(affine + 2 * c + c0, bias);
        for (int pixel = threadIdx.y; pixel < pixels; pixel += blockDim.y) {
            float v[V];
            load<V>(x + ((Index)blockIdx.y * pixels + pixel) * c + c0, v);
            UNROLL for (int i = 0; i < V; i++) sum[i] += activate(act, (v[i] - at[i]) * scale[i] + bias[i]);
        }
    }
    add_up_rows<V>(sum, scratch);
    if (threadIdx.y != 0 || c0 >= c) return;
    UNROLL for (int i = 0; i < V; i++) sum[i] /= (float)pixels;
    store<V>(mean + (Index)blockIdx.y * c + c0, sum);
}
KERNELS(pool_forward, ROW_THREADS, (const X *x, const float *affine, int act, int pixels, float *mean, int c),
        (x, affine, act, pixels, mean, c))

// gate_gradient: ggates [n, c] = the sums over an image's pixels of ga * act(bn(d)). Launch as pool_forward. Cost:
// reads ga and d.
template <int V>
DEVICE void gate_gradient(const X *ga, const X *d, const float *affine, int act, int pixels, float *ggates, int c) {
    __shared__ float scratch[4 * ROW_THREADS];
    const int c0 = first_channel<V>();
    float sum[V];
    UNROLL for (int i = 0; i < V; i++) sum[i] = 0.f;
    if (c0 < c) {
        float at[V], scale[V], bias[V];
        load<V>(affine + c0, at);
        load<V>(affine + c + c0, scale);
        load<V>(affine + 2 * c + c0, bias);
        for (int pixel = threadIdx.y; pixel < pixels; pixel += blockDim.y) {
            const Index row = (Index)blockIdx.y * pixels + pixel;
            float v[V], g[V];
            load<V>(d + row * c + c0, v);
            load<V>(ga + row * c + c0, g);
            UNROLL for (int i = 0; i < V; i++) sum[i] += g[i] * activate(act, (v[i] - at[i]) * scale[i] + bias[i]);
        }
    }
    add_up_rows<V>(sum, scratch);
    if (threadIdx.y == 0 && c0 < c) store<V>(ggates + (Index)blockIdx.y * c + c0, sum);
}
KERNELS(gate_gradient, ROW_THREADS,
        (const X *ga, const X *d, const float *affine, int act, int pixels, float *ggates, int c),
        (ga, d, affine, act, pixels, ggates, c))

// The product of a row of `len` values by another, over a warp's lanes; every lane gets it.
DEVICE float warp_dot(const float *a, const float *b, int len) {
    float sum = 0.f;
    for (int i = threadIdx.x % 32; i < len; i += 32) sum += a[i] * b[i];
    for (int lanes = 16; lanes > 0; lanes /= 2) sum += __shfl_xor_sync(0xffffffffu, sum, lanes);
    return sum;
}

// se_forward: mean [n, c] -> hidden [n, s], before [n, c] (h-sigmoid), gates [n, c]; w1 [s, c], w2 [c, s]. Launch: a
// block of 256 threads an image, a warp a product. Cost: reads both weights once an image, from the cache.
KERNEL(se_forward, 256,
       (const float *mean, const float *w1, const float *b1, const float *w2, const float *b2, float *hidden, float *before,
        float *gates, int c, int s)) {
    const Index image = blockIdx.x;
    const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
    for (int j = warp; j < s; j += 8) {
        const float sum = warp_dot(mean + image * c, w1 + (Index)j * c, c) + b1[j];
        if (lane == 0) hidden[image * s + j] = relu(sum);
    }
    __syncthreads();
    for (int ch = warp; ch < c; ch += 8) {
        const float sum = warp_dot(hidden + image * s, w2 + (Index)ch * s, s) + b2[ch];
        if (lane == 0) {
            before[image * c + ch] = sum;
            gates[image * c + ch] = activate(HSIGMOID, sum);
        }
    }
}

// se_backward: ggates [n, c] -> gbefore [n, c], ghidden [n, s] (before their activations), and gmean [n, c], the
// gradient of every pixel through the mean. Launch: a block of 256 threads an image. Cost as se_forward.
KERNEL(se_backward, 256,
       (const float *ggates, const float *before, const float *hidden, const float *w1, const float *w2, float *gbefore,
        float *ghidden, float *gmean, int pixels, int c, int s)) {
    const Index image = blockIdx.x;
    for (int ch = threadIdx.x; ch < c; ch += 256)
        gbefore[image * c + ch] = ggates[image * c + ch] * derivative(HSIGMOID, before[image * c + ch]);
    __syncthreads();
    for (int j = threadIdx.x; j < s; j += 256) {
        float sum = 0.f;
        for (int ch = 0; ch < c; ch++) sum += gbefore[image * c + ch] * w2[(Index)ch * s + j];
        ghidden[image * s + j] = hidden[image * s + j] > 0.f ? sum : 0.f;
    }
    __syncthreads();
    for (int ch = threadIdx.x; ch < c; ch += 256) {
        float sum = 0.f;
        for (int j = 0; j < s; j++) sum += ghidden[image * s + j] * w1[(Index)j * c + ch];
        gmean[image * c + ch] = sum / (float)pixels;
    }
}

// se_biases: gb1 [s] and gb2 [c], the sums of ghidden and gbefore over the images. Launch: a thread a value, 256 a
// block. Cost: reads both once.
KERNEL(se_biases, 256, (const float *ghidden, const float *gbefore, float *gb1, float *gb2, int n, int c, int s)) {
    const int at = blockIdx.x * 256 + threadIdx.x;
    if (at >= c + s) return;
    const float *from = at < s ? ghidden + at : gbefore + (at - s);
    float sum = 0.f;
    for (Index i = 0; i < n; i++) sum += from[i * (at < s ? s : c)];
    (at < s ? gb1[at] : gb2[at - s]) = sum;
}
