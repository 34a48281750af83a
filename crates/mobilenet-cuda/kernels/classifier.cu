// What follows the features: linear layers' biases and activations, dropout, the loss.

// linear_output: y = act(x + bias) * mask, x [n, c]; bias [c] and mask [n, c] (0 or 1 / (1 - p)) may be null. Launch: a
// thread a value, 256 a block. Cost: reads x and mask, writes y.
KERNEL(linear_output, 256, (const float *x, const float *bias, int act, const float *mask, float *y, int n, int c)) {
    const Index at = (Index)blockIdx.x * 256 + threadIdx.x;
    if (at >= (Index)n * c) return;
    y[at] = activate(act, x[at] + (bias ? bias[at % c] : 0.f)) * (mask ? mask[at] : 1.f);
}

// linear_backward: gx = gy * mask * act'(x + bias), and gbias [c], the sums over the rows, where given. Launch: blocks of
// 8 columns by 32 rows of threads. Cost: reads gy, x and mask, writes gx.
KERNEL(linear_backward, 256,
       (const float *gy, const float *x, const float *bias, int act, const float *mask, float *gx, float *gbias, int n, int c)) {
    __shared__ float scratch[256];
    const int ch = blockIdx.x * 8 + threadIdx.x;
    float sum[1] = {0.f};
    if (ch < c) {
        const float shift = bias ? bias[ch] : 0.f;
        for (int i = threadIdx.y; i < n; i += 32) {
            const Index at = (Index)i * c + ch;
            const float g = gy[at] * (mask ? mask[at] : 1.f) * derivative(act, x[at] + shift);
            gx[at] = g;
            sum[0] += g;
        }
    }
    if (!gbias) return;
    add_up_rows<1>(sum, scratch);
    if (threadIdx.y == 0 && ch < c) gbias[ch] = sum[0];
}

DEVICE float warp_sum(float x) {
    for (int lanes = 16; lanes > 0; lanes /= 2) x += __shfl_xor_sync(0xffffffffu, x, lanes);
    return x;
}

DEVICE float warp_max(float x) {
    for (int lanes = 16; lanes > 0; lanes /= 2) {
        const float other = __shfl_xor_sync(0xffffffffu, x, lanes);
        x = other > x ? other : x;
    }
    return x;
}

// log(sum over the classes of exp(x * factor)), by a warp.
DEVICE float log_sum_exp(const float *x, float factor, int classes) {
    const int lane = threadIdx.x % 32;
    float largest = from_bits(0xff800000u), sum = 0.f;
    for (int k = lane; k < classes; k += 32) largest = x[k] * factor > largest ? x[k] * factor : largest;
    largest = warp_max(largest);
    for (int k = lane; k < classes; k += 32) sum += expf(x[k] * factor - largest);
    return logf(warp_sum(sum)) + largest;
}

// loss: of each image, and its gradient: logits [n, classes] -> glogits, rows [3][n] = loss, 1 where the label has the
// largest logit, 1 where it is among the five largest; of equal ones the first class counts, and a NaN never.
//   loss = (1 - w) * CE(q, p) + w * T^2 * KL(softmax(teacher / T) || softmax(logits / T)),  p = softmax(logits)
//   q    = (1 - s) * (lambda * onehot(label) + (1 - lambda) * onehot(partner)) + s / classes
// With weights of classes q is multiplied by them, and by 1 over what the batch's labels weigh on average: `weights` is
// one number a class, then that one. `scalars` is s, lambda, T, w; partners, teacher and weights may be null. Launch: a
// warp an image, 8 a block. Cost: reads logits and teacher a few times, from the cache.
KERNEL(loss, 256,
       (const float *logits, const unsigned *labels, const unsigned *partners, const float *teacher, const float *weights,
        const float *scalars, float *glogits, float *rows, int n, int classes)) {
    const int image = blockIdx.x * 8 + threadIdx.x / 32, lane = threadIdx.x % 32;
    // A whole warp leaves, or none of it.
    if (image >= n) return;
    const float smoothing = scalars[0], lambda = partners ? scalars[1] : 1.f;
    const float temperature = teacher ? scalars[2] : 1.f, weight = teacher ? scalars[3] : 0.f;
    const float *x = logits + (Index)image * classes, *t = teacher + (teacher ? (Index)image * classes : 0);
    const int label = (int)labels[image], partner = partners ? (int)partners[image] : label;
    const float log_sum = log_sum_exp(x, 1.f, classes), factor = 1.f / temperature;
    const float student = teacher ? log_sum_exp(x, factor, classes) : 0.f;
    const float taught = teacher ? log_sum_exp(t, factor, classes) : 0.f;
    const float own = x[label];
    float value = 0.f, before = 0.f, mass = 1.f;
    if (weights) {
        // What q sums to over the classes.
        mass = 0.f;
        for (int k = lane; k < classes; k += 32) mass += weights[k];
        mass = warp_sum(mass) * smoothing / (float)classes;
        mass += (1.f - smoothing) * (lambda * weights[label] + (1.f - lambda) * weights[partner]);
        mass *= weights[classes];
    }
    for (int k = lane; k < classes; k += 32) {
        float q = smoothing / (float)classes;
        if (k == label) q += (1.f - smoothing) * lambda;
        if (k == partner) q += (1.f - smoothing) * (1.f - lambda);
        if (weights) q *= weights[k] * weights[classes];
        const float log_p = x[k] - log_sum;
        float g = (1.f - weight) * (mass * expf(log_p) - q);
        if (q > 0.f) value -= (1.f - weight) * q * log_p;
        if (teacher) {
            const float log_t = t[k] * factor - taught, log_s = x[k] * factor - student;
            value += weight * temperature * temperature * expf(log_t) * (log_t - log_s);
            g += weight * temperature * (expf(log_s) - expf(log_t));
        }
        glogits[(Index)image * classes + k] = g / (float)n;
        if (x[k] > own || (x[k] == own && k < label)) before += 1.f;
    }
    value = warp_sum(value);
    before = own == own ? warp_sum(before) : 5.f;
    if (lane != 0) return;
    rows[image] = value;
    rows[n + image] = before < 1.f ? 1.f : 0.f;
    rows[2 * n + image] = before < 5.f ? 1.f : 0.f;
}

// tally: the batch's mean loss, its right answers and those among five, for a reader that comes some steps late: results
// = how many steps, and [room][3]. A step for which there is no room is only counted. Launch: one warp. Cost: reads rows
// [3][n].
KERNEL(tally, 32, (const float *rows, float *results, int room, int n)) {
    float sums[3] = {0.f, 0.f, 0.f};
    for (int i = threadIdx.x; i < n; i += 32)
        for (int of = 0; of < 3; of++) sums[of] += rows[of * n + i];
    for (int of = 0; of < 3; of++) sums[of] = warp_sum(sums[of]);
    if (threadIdx.x != 0) return;
    const int step = (int)results[0];
    results[0] = (float)(step + 1);
    if (step >= room) return;
    results[1 + 3 * step] = sums[0] / (float)n;
    results[2 + 3 * step] = sums[1];
    results[3 + 3 * step] = sums[2];
}
