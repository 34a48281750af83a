// The depthwise convolution of act(bn(e)), and back: k x k windows of k = 3 or 5 at stride 1 or 2, padded by k / 2.
//
//   d[y, x] = sum over taps of act(bn(e))[y * S + ky - k / 2, x * S + kx - k / 2] * w[ky, kx]
//
// A thread computes a strip of neighboring pixels of two channels, so that a value that several windows share is
// normalized and activated once a strip (forward) or once a row of the window (backward) instead of once a tap. ACT, a definition of the program, is the
// activation, or NONE where the input is taken as it is. Weights are [c, 1, k, k] as PyTorch's, and stand in shared
// memory as [taps][channels].

#ifndef ACT
#define ACT NONE
#endif
#define NONE 5
#define STRIP_THREADS 128
#define STRIP_CHANNELS 64

// Batch norm and activation of a pair of channels.
struct Prologue {
    float mean[2], scale[2], bias[2];
    DEVICE Prologue(const float *affine, int c, int c0) {
        if constexpr (ACT != NONE) {
            load<2>(affine + c0, mean);
            load<2>(affine + c + c0, scale);
            load<2>(affine + 2 * c + c0, bias);
        }
    }
    DEVICE float normalized(float x, int i) const { return ACT == NONE ? x : (x - mean[i]) * scale[i] + bias[i]; }
    DEVICE float operator()(float x, int i) const { return ACT == NONE ? x : activate(ACT, normalized(x, i)); }
};

template <int TAPS> DEVICE void load_weights(const float *weight, float *shared, int c) {
    const int width = blockDim.x * 2, threads = blockDim.x * blockDim.y;
    for (int i = threadIdx.y * blockDim.x + threadIdx.x; i < TAPS * width; i += threads) {
        const int ch = blockIdx.x * width + i % width;
        shared[i] = ch < c ? weight[(Index)ch * TAPS + i / width] : 0.f;
    }
    __syncthreads();
}

// dw{3,5}_s{1,2}_forward: e [n, h, w, c] -> d [n, ho, wo, c], and part [3][parts][c], d's moments, where given; with
// `bias` act_out(d + bias) instead, for inference. A thread goes down a strip of 4 outputs (2 at stride 2) and as many
// rows as a segment has: a row of e is added to all rows of outputs that it is a part of. Launch: blockDim.x pairs of
// channels by blockDim.y segments, 128 threads at most; the grid is blocks of channels by parts. Cost: reads e and
// writes d once where the cache holds the rows that segments share.
template <int K, int S>
DEVICE void forward(const T *e, const float *affine, const float *weight, const float *bias, int act_out, T *d,
                    float *part, int n, int h, int w, int c, int ho, int wo, int segment) {
    constexpr int R = S == 1 ? 4 : 2, PAD = K / 2, COLUMNS = (R - 1) * S + K;
    // Rows of outputs that a row of inputs is a part of; after so many rows of inputs their places are the same again.
    constexpr int PENDING = (K + S - 1) / S, PERIOD = PENDING * S;
    __shared__ float weights[K * K * STRIP_CHANNELS];
    __shared__ Moments scratch[2 * STRIP_THREADS];
    load_weights<K * K>(weight, weights, c);
    const int c0 = first_channel<2>(), width = blockDim.x * 2;
    RunningMoments<2> moments;
    moments.begin();
    if (c0 < c) {
        const Prologue prologue(affine, c, c0);
        const float *own = weights + threadIdx.x * 2;
        const int across = (wo + R - 1) / R, segments = (ho + segment - 1) / segment;
        for (int item = (int)first_row(); item < n * segments * across; item += (int)row_step()) {
            const int x0 = item % across * R, y0 = item / across % segments * segment;
            const Index image = item / across / segments;
            const int count = ho - y0 < segment ? ho - y0 : segment, lines = (count - 1) * S + K;
            float sum[PENDING][R][2];
            for (int first = 0; first < lines; first += PERIOD) {
                UNROLL for (int k = 0; k < PERIOD; k++) {
                    const int line = first + k, yy = y0 * S - PAD + line;
                    if (k % S == 0) UNROLL for (int r = 0; r < R; r++) sum[k / S][r][0] = sum[k / S][r][1] = 0.f;
                    if (line < lines && yy >= 0 && yy < h) {
                        const T *from = e + (image * h + yy) * w * c + c0;
                        UNROLL for (int column = 0; column < COLUMNS; column++) {
                            const int xx = x0 * S + column - PAD;
                            float v[2] = {0.f, 0.f};
                            if (xx >= 0 && xx < w) {
                                load<2>(from + (Index)xx * c, v);
                                UNROLL for (int i = 0; i < 2; i++) v[i] = prologue(v[i], i);
                            }
                            UNROLL for (int ky = 0; ky < K; ky++) {
                                const int ahead = k - ky + 4 * PERIOD;
                                if (ahead % S != 0) continue;
                                UNROLL for (int r = 0; r < R; r++) {
                                    const int kx = column - r * S;
                                    if (kx < 0 || kx >= K) continue;
                                    UNROLL for (int i = 0; i < 2; i++)
                                        sum[ahead / S % PENDING][r][i] += v[i] * own[(ky * K + kx) * width + i];
                                }
                            }
                        }
                    }
                    const int done = k - (K - 1) + 4 * PERIOD, o = (line - (K - 1)) / S;
                    if (done % S != 0 || line < K - 1 || o >= count) continue;
                    T *to = d + ((image * ho + y0 + o) * wo + x0) * c + c0;
                    UNROLL for (int r = 0; r < R; r++) {
                        if (x0 + r >= wo) continue;
                        float of[2] = {sum[done / S % PENDING][r][0], sum[done / S % PENDING][r][1]};
                        if (bias) UNROLL for (int i = 0; i < 2; i++) of[i] = activate(act_out, of[i] + bias[c0 + i]);
                        store<2>(to + (Index)r * c, of);
                        moments.add(of);
                    }
                }
            }
        }
    }
    if (part) moments.write(part, c, scratch);
}

// dw{3,5}_s{1,2}_backward: with g the gradient of bn(d), gd = scale * g + slope * (d - mean) + offset is made on load,
// and
//   ga = the convolution's transpose of gd,  ge = ga * act'(bn(e)),  out = scale(e) * ge (ge itself for NONE)
//   part_weight [parts][taps][c] = sums of gd * act(bn(e)),  part [2][parts][c] = sums of ge and of ge * (e - mean(e))
// A thread takes a strip of 4 inputs of one row at a time: with the rows that windows share held in registers, as forward
// has them, too few threads are left to hide the memory's latency (98 instead of 77 us a launch of V2's on an H200).
// Launch: blockDim.x pairs of channels by blockDim.y strips, 128 threads at most; the grid is blocks of channels by
// parts. Cost: reads g, d and e, writes out, each once where the cache holds a few rows.
template <int K, int S>
DEVICE void backward(const T *g, const T *d, const float *affine_d, const float *slopes, const T *e, const float *affine,
                     const float *weight, T *out, float *part_weight, float *part, int n, int h, int w, int c, int ho,
                     int wo) {
    constexpr int R = 4, PAD = K / 2, LOW = S == 1 ? -PAD : -(PAD / 2), COLUMNS = (R - 1 + PAD) / S - LOW + 1;
    __shared__ float weights[K * K * STRIP_CHANNELS], scratch[2 * STRIP_THREADS];
    load_weights<K * K>(weight, weights, c);
    const int c0 = first_channel<2>(), width = blockDim.x * 2;
    float gweight[K * K][2], sum[2] = {0.f, 0.f}, dot[2] = {0.f, 0.f};
    UNROLL for (int tap = 0; tap < K * K; tap++) gweight[tap][0] = gweight[tap][1] = 0.f;
    if (c0 < c) {
        const Prologue prologue(affine, c, c0);
        float mean[2], scale[2], slope[2], offset[2];
        load<2>(affine_d + c0, mean);
        load<2>(affine_d + c + c0, scale);
        load<2>(slopes + c0, slope);
        load<2>(slopes + c + c0, offset);
        const float *own = weights + threadIdx.x * 2;
        const int across = (w + R - 1) / R;
        for (int strip = (int)first_row(); strip < n * h * across; strip += (int)row_step()) {
            const int x0 = (int)(strip % across) * R, y = (int)(strip / across % h);
            const Index image = strip / across / h;
            const Index at = ((image * h + y) * w + x0) * c + c0;
            float value[R][2], ga[R][2];
            UNROLL for (int r = 0; r < R; r++) {
                value[r][0] = value[r][1] = ga[r][0] = ga[r][1] = 0.f;
                if (x0 + r >= w) continue;
                load<2>(e + at + (Index)r * c, value[r]);
                UNROLL for (int i = 0; i < 2; i++) value[r][i] = prologue(value[r][i], i);
            }
            UNROLL for (int ky = 0; ky < K; ky++) {
                const int scaled = y + PAD - ky;
                if (scaled < 0 || scaled % S != 0 || scaled / S >= ho) continue;
                const Index line = (image * ho + scaled / S) * wo;
                UNROLL for (int column = 0; column < COLUMNS; column++) {
                    const int xo = x0 / S + LOW + column;
                    float gd[2] = {0.f, 0.f};
                    if (xo >= 0 && xo < wo) {
                        float v[2];
                        load<2>(g + (line + xo) * c + c0, gd);
                        load<2>(d + (line + xo) * c + c0, v);
                        UNROLL for (int i = 0; i < 2; i++)
                            gd[i] = scale[i] * gd[i] + slope[i] * (v[i] - mean[i]) + offset[i];
                    }
                    UNROLL for (int r = 0; r < R; r++) {
                        const int kx = r + PAD - S * (LOW + column);
                        if (kx < 0 || kx >= K) continue;
                        UNROLL for (int i = 0; i < 2; i++) {
                            ga[r][i] += gd[i] * own[(ky * K + kx) * width + i];
                            gweight[ky * K + kx][i] += gd[i] * value[r][i];
                        }
                    }
                }
            }
            UNROLL for (int r = 0; r < R; r++) {
                if (x0 + r >= w) continue;
                if constexpr (ACT != NONE) {
                    float v[2];
                    load<2>(e + at + (Index)r * c, v);
                    UNROLL for (int i = 0; i < 2; i++) {
                        ga[r][i] *= derivative(ACT, prologue.normalized(v[i], i));
                        sum[i] += ga[r][i];
                        dot[i] += ga[r][i] * (v[i] - prologue.mean[i]);
                        ga[r][i] *= prologue.scale[i];
                    }
                }
                store<2>(out + at + (Index)r * c, ga[r]);
            }
        }
    }
    for (int tap = 0; tap < K * K; tap++) {
        // Unrolled, so that the sums stay in registers.
        float taps[2] = {0.f, 0.f};
        UNROLL for (int other = 0; other < K * K; other++)
            if (other == tap) taps[0] = gweight[other][0], taps[1] = gweight[other][1];
        add_up_rows<2>(taps, scratch);
        if (threadIdx.y == 0 && c0 < c) store<2>(part_weight + ((Index)blockIdx.y * K * K + tap) * c + c0, taps);
    }
    if constexpr (ACT != NONE) {
        add_up_rows<2>(sum, scratch);
        add_up_rows<2>(dot, scratch);
        if (threadIdx.y == 0 && c0 < c) {
            store<2>(part + (Index)blockIdx.y * c + c0, sum);
            store<2>(part + (Index)(gridDim.y + blockIdx.y) * c + c0, dot);
        }
    }
}

#define DEPTHWISE(K, S)                                                                                                \
    KERNEL(dw##K##_s##S##_forward, STRIP_THREADS,                                                                      \
           (const T *__restrict__ e, const float *affine, const float *weight, const float *bias, int act_out,          \
            T *__restrict__ d, float *part, int n, int h, int w, int c, int ho, int wo, int segment)) {                 \
        forward<K, S>(e, affine, weight, bias, act_out, d, part, n, h, w, c, ho, wo, segment);                         \
    }                                                                                                                  \
    KERNEL(dw##K##_s##S##_backward, STRIP_THREADS,                                                                     \
           (const T *__restrict__ g, const T *__restrict__ d, const float *affine_d, const float *slopes,              \
            const T *__restrict__ e, const float *affine, const float *weight, T *__restrict__ out, float *part_weight, \
            float *part, int n, int h, int w, int c, int ho, int wo)) {                                                \
        backward<K, S>(g, d, affine_d, slopes, e, affine, weight, out, part_weight, part, n, h, w, c, ho, wo);          \
    }
DEPTHWISE(3, 1)
DEPTHWISE(3, 2)
DEPTHWISE(5, 1)
DEPTHWISE(5, 2)
