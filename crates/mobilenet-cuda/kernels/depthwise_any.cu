// The depthwise convolution of depthwise.cu for any window, stride, dilation and padding, and any number of channels. A
// thread computes one value; the taps are read through the cache. `act` is NONE (5) where the input is taken as it is.

#define NONE 5

DEVICE float input_value(const T *e, Index at, const float *affine, int act, int c, int ch) {
    float v[1];
    load<1>(e + at, v);
    return act == NONE ? v[0] : activate(act, (v[0] - affine[ch]) * affine[c + ch] + affine[2 * c + ch]);
}

// dw_any_forward: as dw3_s1_forward. Launch: channels by parts of the output's pixels. Cost: reads e once a tap, from
// the cache as a rule.
KERNEL(dw_any_forward, ROW_THREADS,
       (const T *e, const float *affine, int act, const float *weight, const float *bias, int act_out, T *d, float *part,
        int n, int h, int w, int c, int ho, int wo, int kernel, int stride, int dilation, int padding)) {
    __shared__ Moments scratch[ROW_THREADS];
    const int ch = first_channel<1>();
    RunningMoments<1> moments;
    moments.begin();
    if (ch < c) {
        // Pixels are counted in 32 bits: dividing wider numbers takes registers.
        for (int row = (int)first_row(); row < n * ho * wo; row += (int)row_step()) {
            const int ox = row % wo, oy = row / wo % ho;
            const Index image = row / wo / ho;
            float sum[1] = {0.f};
            for (int tap = 0; tap < kernel * kernel; tap++) {
                const int y = oy * stride + tap / kernel * dilation - padding;
                const int x = ox * stride + tap % kernel * dilation - padding;
                if (y < 0 || y >= h || x < 0 || x >= w) continue;
                const float v = input_value(e, ((image * h + y) * w + x) * c + ch, affine, act, c, ch);
                sum[0] += v * weight[(Index)ch * kernel * kernel + tap];
            }
            if (bias) sum[0] = activate(act_out, sum[0] + bias[ch]);
            store<1>(d + (Index)row * c + ch, sum);
            moments.add(sum);
        }
    }
    if (part) moments.write(part, c, scratch);
}

// gd = scale * g + slope * (d - mean) + offset
DEVICE float output_gradient(const T *g, const T *d, const float *affine_d, const float *slopes, Index at, int c, int ch) {
    float gd[1], v[1];
    load<1>(g + at, gd);
    load<1>(d + at, v);
    return affine_d[c + ch] * gd[0] + slopes[ch] * (v[0] - affine_d[ch]) + slopes[c + ch];
}

// dw_any_backward_input: `out` and `part` of dw3_s1_backward. Launch: channels by parts of the input's pixels. Cost:
// reads g and d once a tap, from the cache as a rule.
KERNEL(dw_any_backward_input, ROW_THREADS,
       (const T *g, const T *d, const float *affine_d, const float *slopes, const T *e, const float *affine, int act,
        const float *weight, T *out, float *part, int n, int h, int w, int c, int ho, int wo, int kernel, int stride,
        int dilation, int padding)) {
    __shared__ float scratch[ROW_THREADS];
    const int ch = first_channel<1>();
    float sum[1] = {0.f}, dot[1] = {0.f};
    if (ch < c) {
        for (int row = (int)first_row(); row < n * h * w; row += (int)row_step()) {
            const int x = row % w, y = row / w % h;
            const Index image = row / w / h;
            float ga[1] = {0.f};
            for (int tap = 0; tap < kernel * kernel; tap++) {
                const int sy = y + padding - tap / kernel * dilation, sx = x + padding - tap % kernel * dilation;
                if (sy < 0 || sx < 0 || sy % stride != 0 || sx % stride != 0) continue;
                if (sy / stride >= ho || sx / stride >= wo) continue;
                const Index at = ((image * ho + sy / stride) * wo + sx / stride) * c + ch;
                ga[0] += output_gradient(g, d, affine_d, slopes, at, c, ch) * weight[(Index)ch * kernel * kernel + tap];
            }
            if (act != NONE) {
                float v[1];
                load<1>(e + (Index)row * c + ch, v);
                ga[0] *= derivative(act, (v[0] - affine[ch]) * affine[c + ch] + affine[2 * c + ch]);
                sum[0] += ga[0];
                dot[0] += ga[0] * (v[0] - affine[ch]);
                ga[0] *= affine[c + ch];
            }
            store<1>(out + (Index)row * c + ch, ga);
        }
    }
    if (act == NONE) return;
    add_up_rows<1>(sum, scratch);
    add_up_rows<1>(dot, scratch);
    if (threadIdx.y == 0 && ch < c) {
        part[(Index)blockIdx.y * c + ch] = sum[0];
        part[(Index)(gridDim.y + blockIdx.y) * c + ch] = dot[0];
    }
}

// dw_any_backward_weight: part_weight [parts][taps][c] of dw3_s1_backward, tap after tap. Launch: channels by parts of
// the output's pixels. Cost: reads e, g and d once a tap.
KERNEL(dw_any_backward_weight, ROW_THREADS,
       (const T *g, const T *d, const float *affine_d, const float *slopes, const T *e, const float *affine, int act,
        float *part_weight, int n, int h, int w, int c, int ho, int wo, int kernel, int stride, int dilation, int padding)) {
    __shared__ float scratch[ROW_THREADS];
    const int ch = first_channel<1>();
    for (int tap = 0; tap < kernel * kernel; tap++) {
        float sum[1] = {0.f};
        if (ch < c) {
            for (int row = (int)first_row(); row < n * ho * wo; row += (int)row_step()) {
                const int y = row / wo % ho * stride + tap / kernel * dilation - padding;
                const int x = row % wo * stride + tap % kernel * dilation - padding;
                if (y < 0 || y >= h || x < 0 || x >= w) continue;
                const Index image = row / wo / ho;
                const float v = input_value(e, ((image * h + y) * w + x) * c + ch, affine, act, c, ch);
                sum[0] += v * output_gradient(g, d, affine_d, slopes, (Index)row * c + ch, c, ch);
            }
        }
        add_up_rows<1>(sum, scratch);
        if (threadIdx.y == 0 && ch < c) part_weight[((Index)blockIdx.y * kernel * kernel + tap) * c + ch] = sum[0];
    }
}
