// A dense convolution over few channels, the networks' first: p = conv(x), x [n, h, w, c_in] and p [n, ho, wo, c]
// float. Weights are [c, c_in, k, k]; a tap is (ci * k + ky) * k + kx, of which there are CONV_TAPS at most.

#define CONV_TAPS 75
#define CONV_CHANNELS 64

struct Source { int h, w, c_in, kernel, stride, padding; };

// Where a tap of an output pixel is from the pixel's first tap, and its channel.
struct Tap {
    int y, x, channel;
    DEVICE Tap(const Source &s, int tap) : y(tap / s.kernel % s.kernel), x(tap % s.kernel), channel(tap / (s.kernel * s.kernel)) {}
};

// The value at a tap, 0 outside the image; (y, x) is where the pixel's first tap is.
DEVICE float tap_value(const float *image, const Source &s, int y, int x, const Tap &tap) {
    y += tap.y;
    x += tap.x;
    if (y < 0 || y >= s.h || x < 0 || x >= s.w) return 0.f;
    return image[((Index)y * s.w + x) * s.c_in + tap.channel];
}

// stem_forward: p, and part [3][parts][c], its moments, where given; with `bias` act(p + bias) as T instead, for
// inference. Launch: channels by parts of the pixels, at most 64 channels a block. Cost: reads x from the cache once a
// tap, writes p.
template <int V>
DEVICE void stem_forward(const float *x, const float *weight, const float *bias, int act, float *p, T *y, float *part, int n,
                         int h, int w, int c_in, int c, int ho, int wo, int kernel, int stride, int padding) {
    __shared__ float weights[CONV_TAPS * CONV_CHANNELS];
    __shared__ Moments scratch[V * ROW_THREADS];
    const int width = blockDim.x * V, taps = kernel * kernel * c_in, threads = blockDim.x * blockDim.y;
    for (int i = threadIdx.y * blockDim.x + threadIdx.x; i < taps * width; i += threads) {
        const int ch = blockIdx.x * width + i % width;
        weights[i] = ch < c ? weight[(Index)ch * taps + i / width] : 0.f;
    }
    __syncthreads();
    const int c0 = first_channel<V>();
    RunningMoments<V> moments;
    moments.begin();
    if (c0 < c) {
        const float *own = weights + threadIdx.x * V;
        for (int row = (int)first_row(); row < n * ho * wo; row += (int)row_step()) {
            const float *image = x + (Index)(row / wo / ho) * h * w * c_in;
            const int y0 = row / wo % ho * stride - padding, x0 = row % wo * stride - padding;
            float sum[V];
            UNROLL for (int i = 0; i < V; i++) sum[i] = 0.f;
            const float *filter = own;
            for (int ci = 0; ci < c_in; ci++) {
                for (int ky = 0; ky < kernel; ky++) {
                    const float *line = image + ((Index)(y0 + ky) * w + x0) * c_in + ci;
                    const bool inside = y0 + ky >= 0 && y0 + ky < h;
                    for (int kx = 0; kx < kernel; kx++, filter += width) {
                        if (!inside || x0 + kx < 0 || x0 + kx >= w) continue;
                        const float v = line[kx * c_in];
                        UNROLL for (int i = 0; i < V; i++) sum[i] += v * filter[i];
                    }
                }
            }
            if (bias) {
                UNROLL for (int i = 0; i < V; i++) sum[i] = activate(act, sum[i] + bias[c0 + i]);
                store<V>(y + (Index)row * c + c0, sum);
            }
            if (p) store<V>(p + (Index)row * c + c0, sum);
            moments.add(sum);
        }
    }
    if (part) moments.write(part, c, scratch);
}
KERNELS(stem_forward, ROW_THREADS,
        (const float *x, const float *weight, const float *bias, int act, float *p, T *y, float *part, int n, int h, int w,
         int c_in, int c, int ho, int wo, int kernel, int stride, int padding),
        (x, weight, bias, act, p, y, part, n, h, w, c_in, c, ho, wo, kernel, stride, padding))

#define TILE_ROWS 16

// stem_backward_weight: part [parts][taps][c] = sums of gp * x, where gp = scale * gy * act'(bn(p)) + slope * (p -
// mean) + offset is made on load. Launch: 256 threads, 32 channels by 8 taps; the grid is blocks of 32 channels by
// parts of the pixels. Cost: reads gy and p once, x from the cache once a tap.
KERNEL(stem_backward_weight, 256,
       (const float *gy, const float *p, const float *affine, const float *slopes, int act, const float *x, float *part,
        int n, int h, int w, int c_in, int c, int ho, int wo, int kernel, int stride, int padding)) {
    __shared__ float gp[TILE_ROWS * 32], values[TILE_ROWS * CONV_TAPS];
    const Source source{h, w, c_in, kernel, stride, padding};
    const int taps = kernel * kernel * c_in, lane = threadIdx.x % 32, group = threadIdx.x / 32;
    const int ch = blockIdx.x * 32 + lane;
    const Index rows = (Index)n * ho * wo;
    float sum[(CONV_TAPS + 7) / 8];
    UNROLL for (int i = 0; i < (CONV_TAPS + 7) / 8; i++) sum[i] = 0.f;
    // Of the tile's values, a thread takes every 16th of one row.
    const int own_row = threadIdx.x / TILE_ROWS, own_tap = threadIdx.x % TILE_ROWS;
    for (Index first = (Index)blockIdx.y * TILE_ROWS; first < rows; first += (Index)gridDim.y * TILE_ROWS) {
        const int count = (int)(rows - first < TILE_ROWS ? rows - first : TILE_ROWS);
        for (int i = group; i < count; i += 8) {
            float g = 0.f;
            if (ch < c) {
                const float v = p[(first + i) * c + ch] - affine[ch], scale = affine[c + ch];
                g = gy[(first + i) * c + ch] * derivative(act, v * scale + affine[2 * c + ch]);
                g = scale * g + slopes[ch] * v + slopes[c + ch];
            }
            gp[i * 32 + lane] = g;
        }
        if (own_row < count) {
            const int row = (int)first + own_row;
            const float *image = x + (Index)(row / wo / ho) * h * w * c_in;
            const int y0 = row / wo % ho * stride - padding, x0 = row % wo * stride - padding;
            for (int tap = own_tap; tap < taps; tap += 256 / TILE_ROWS)
                values[own_row * taps + tap] = tap_value(image, source, y0, x0, Tap(source, tap));
        }
        __syncthreads();
        for (int i = 0; i < count; i++) {
            const float g = gp[i * 32 + lane];
            UNROLL for (int j = 0; j < (CONV_TAPS + 7) / 8; j++)
                if (group + 8 * j < taps) sum[j] += g * values[i * taps + group + 8 * j];
        }
        __syncthreads();
    }
    if (ch >= c) return;
    UNROLL for (int j = 0; j < (CONV_TAPS + 7) / 8; j++)
        if (group + 8 * j < taps) part[((Index)blockIdx.y * taps + group + 8 * j) * c + ch] = sum[j];
}
