// What is made of parts' sums: statistics, slopes, weights' gradients. Small: every kernel reads its parts once.

#define FINISH_CHANNELS 8
#define FINISH_ROWS 32
#define FINISH_THREADS (FINISH_CHANNELS * FINISH_ROWS)

// Adds up numbers of each channel over the rows of threads, for all of them.
template <int V> DEVICE void add_up(double (&x)[V], double *scratch) {
    add_up_rows<V>(x, scratch);
    double *of_channel = scratch + threadIdx.x * V;
    if (threadIdx.y == 0) UNROLL for (int i = 0; i < V; i++) of_channel[i] = x[i];
    __syncthreads();
    UNROLL for (int i = 0; i < V; i++) x[i] = of_channel[i];
    __syncthreads();
}

// norm_finish: the batch's statistics and the running ones, from part [3][parts][c].
//   affine [4][c] = mean, gamma / sqrt(var + eps), beta, what rounding took from the mean;  inverse_std [c]
//   running = kept * running + share * batch's, the mean with what `origin` adds to it: weight [c, c_in] by origin [c_in]
//   origin_out [c] = beta + origin_in                                        where a block's output is kept about a row
//   input_sums [c_in] = sums of input_part [input_parts][c_in]               where given
// The mean comes first, then the squares about it: no division in a loop. Launch: blocks of 8 channels by 32 rows of
// threads, which share the parts. Cost: reads the parts, twice.
KERNEL(norm_finish, FINISH_THREADS,
       (const float *part, int parts, int c, const float *gamma, const float *beta, float eps, float kept, float of_mean,
        float of_var, float *affine, float *inverse_std, float *running_mean, float *running_var, const float *weight,
        const float *origin, int c_in, const float *origin_in, float *origin_out, const float *input_part, int input_parts,
        float *input_sums)) {
    __shared__ double scratch[2 * FINISH_THREADS];
    const int ch = blockIdx.x * FINISH_CHANNELS + threadIdx.x;
    const Index plane = (Index)parts * c;
    double total[2] = {0., 0.}, rest[2] = {0., 0.}, input_sum[1] = {0.};
    if (ch < c) {
        for (int i = threadIdx.y; i < parts; i += FINISH_ROWS) {
            const Index at = (Index)i * c + ch;
            const double count = part[at];
            total[0] += count;
            total[1] += count * part[plane + at];
        }
    }
    add_up<2>(total, scratch);
    const double exact = total[0] > 0. ? total[1] / total[0] : 0.;
    if (ch < c) {
        for (int i = threadIdx.y; i < parts; i += FINISH_ROWS) {
            const Index at = (Index)i * c + ch;
            const double distance = part[plane + at] - exact;
            rest[0] += part[2 * plane + at] + part[at] * distance * distance;
        }
        if (origin)
            for (int i = threadIdx.y; i < c_in; i += FINISH_ROWS) rest[1] += (double)weight[(Index)ch * c_in + i] * origin[i];
    }
    add_up<2>(rest, scratch);
    if (input_sums) {
        if (ch < c_in)
            for (int i = threadIdx.y; i < input_parts; i += FINISH_ROWS) input_sum[0] += input_part[(Index)i * c_in + ch];
        add_up<1>(input_sum, scratch);
    }
    if (threadIdx.y != 0) return;
    if (input_sums && ch < c_in) input_sums[ch] = (float)input_sum[0];
    if (ch >= c) return;
    const float mean = (float)exact, var = (float)(rest[0] / total[0]);
    const double inverse = 1. / sqrt((double)var + (double)eps);
    affine[ch] = mean;
    affine[c + ch] = (float)(gamma[ch] * inverse);
    affine[2 * c + ch] = beta[ch];
    affine[3 * c + ch] = (float)(exact - (double)mean);
    inverse_std[ch] = (float)inverse;
    running_mean[ch] = running_mean[ch] * kept + (float)(exact + rest[1]) * of_mean;
    running_var[ch] = running_var[ch] * kept + var * of_var;
    if (origin_out) origin_out[ch] = beta[ch] + (origin_in ? origin_in[ch] : 0.f);
}

// norm_backward_finish: from part [2][parts][c], the sums of g and of g * (x - mean) over so many rows,
//   slopes [3][c] = slope, offset with the mean as float, offset with the exact mean;  ggamma, gbeta [c]
//   slope = -scale / std^2 * dot / rows, offset = -scale * sum / rows
// Launch and cost as norm_finish.
KERNEL(norm_backward_finish, FINISH_THREADS,
       (const float *part, int parts, int c, int rows, const float *affine, const float *inverse_std, float *slopes,
        float *ggamma, float *gbeta)) {
    __shared__ double scratch[2 * FINISH_THREADS];
    const int ch = blockIdx.x * FINISH_CHANNELS + threadIdx.x;
    double sums[2] = {0., 0.};
    if (ch < c) {
        for (int i = threadIdx.y; i < parts; i += FINISH_ROWS) {
            sums[0] += part[(Index)i * c + ch];
            sums[1] += part[(Index)(parts + i) * c + ch];
        }
    }
    add_up_rows<2>(sums, scratch);
    if (threadIdx.y != 0 || ch >= c) return;
    const double sum = sums[0];
    double dot = sums[1];
    const double scale = affine[c + ch], lost = affine[3 * c + ch], inverse = inverse_std[ch];
    dot -= lost * sum;
    const double slope = -scale * inverse * inverse * dot / rows, at_mean = -scale * sum / rows;
    slopes[ch] = (float)slope;
    slopes[c + ch] = (float)(at_mean - slope * lost);
    slopes[2 * c + ch] = (float)at_mean;
    ggamma[ch] = (float)(dot * inverse);
    gbeta[ch] = (float)sum;
}

// sum_parts: out[ch * taps + tap] = the sum of part [parts][taps][c] over the parts: a weight's gradient in PyTorch's
// order. Launch: blocks of 32 values by 8 rows of threads, which share the parts. Cost: reads the parts.
KERNEL(sum_parts, 256, (const float *part, int parts, float *out, int taps, int c)) {
    __shared__ float scratch[256];
    const int at = blockIdx.x * 32 + threadIdx.x;
    float sum[1] = {0.f};
    if (at < taps * c)
        for (int i = threadIdx.y; i < parts; i += 8) sum[0] += part[(Index)i * taps * c + at];
    add_up_rows<1>(sum, scratch);
    if (threadIdx.y == 0 && at < taps * c) out[(Index)(at % c) * taps + at / c] = sum[0];
}

// expand_left: what batch norm's sums add to the gradients of an expansion e = z * W^T, as the left side of two
// products:
//   left [c, 1 + c_in] = [factor | slope * W],  factor = offset - slope * (W * sums / rows)
//   gW += left * [sums; z^T z]        gx += z * M + v, with [v; M] = left^T * W
// (`gram` gets its first row, the sums of z.) Launch: a warp a row of W, 8 a block. Cost: reads W, writes left.
KERNEL(expand_left, 256,
       (const float *weight, const float *slopes, const float *sums, int rows, float *left, float *gram, int c, int c_in)) {
    const int ch = blockIdx.x * 8 + threadIdx.x / 32, lane = threadIdx.x % 32;
    const float slope = ch < c ? slopes[ch] : 0.f;
    float mean = 0.f;
    if (ch < c) {
        for (int i = lane; i < c_in; i += 32) {
            const float w = weight[(Index)ch * c_in + i];
            left[(Index)ch * (c_in + 1) + 1 + i] = slope * w;
            mean += w * (sums[i] / (float)rows);
        }
    }
    for (int lanes = 16; lanes > 0; lanes /= 2) mean += __shfl_xor_sync(0xffffffffu, mean, lanes);
    if (ch < c && lane == 0) left[(Index)ch * (c_in + 1)] = slopes[2 * c + ch] - slope * mean;
    if (blockIdx.x == 0)
        for (int i = threadIdx.x; i < c_in; i += 256) gram[i] = sums[i];
}

// input_begin: gx = v + gy, before the products are added: gx [rows, c], gy the same or null, `slope` [1 + c, c] = [v;
// M]. `m` gets M as T, the right side of z * M. Launch: 256 threads a block, in steps of the grid. Cost: reads gy,
// writes gx.
KERNEL(input_begin, 256, (const float *slope, const float *gy, float *gx, T *m, int rows, int c)) {
    const Index step = (Index)gridDim.x * 256, first = (Index)blockIdx.x * 256 + threadIdx.x;
    for (Index at = first; at < (Index)rows * c; at += step) gx[at] = slope[at % c] + (gy ? gy[at] : 0.f);
    for (Index at = first; at < (Index)c * c; at += step) {
        const float value[1] = {slope[c + at]};
        store<1>(m + at, value);
    }
}

// add_rows: gx = g + gy, where nothing is expanded: g as T, gy [the same] or null. Launch and cost as input_begin.
KERNEL(add_rows, 256, (const T *g, const float *gy, float *gx, Index len)) {
    for (Index at = (Index)blockIdx.x * 256 + threadIdx.x; at < len; at += (Index)gridDim.x * 256) {
        float value[1];
        load<1>(g + at, value);
        gx[at] = value[0] + (gy ? gy[at] : 0.f);
    }
}

// to_operand: float -> T, the weights of all products at once. Launch as input_begin. Cost: reads and writes once.
KERNEL(to_operand, 256, (const float *from, T *to, Index len)) {
    for (Index at = (Index)blockIdx.x * 256 + threadIdx.x; at < len; at += (Index)gridDim.x * 256) {
        const float value[1] = {from[at]};
        store<1>(to + at, value);
    }
}
