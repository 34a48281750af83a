// Updates of all variables in a few launches. A table has a row for every chunk of a variable: where its values are,
// the gradients, and the rule's two buffers. `scalars` is in memory, so that a step that was captured once can be
// repeated; where variables have learning rates of their own it is there once for each, and a chunk has its number.
// Launch, of all: a block of 256 threads a chunk. Cost: reads each tensor of the rule once, writes all but the gradient.

struct Chunk {
    unsigned long long w, g, m, v;
    int len, decays, rate, unused;
};

struct Pointers {
    float *w, *m, *v;
    const float *g;
    DEVICE Pointers(const Chunk &chunk)
        : w((float *)chunk.w), m((float *)chunk.m), v((float *)chunk.v), g((const float *)chunk.g) {}
};

// multi_adamw: scalars [rates][7] = 1 - b1, b2, 1 - b2, 1 - lr * decay, lr / (1 - b1^t), 1 / sqrt(1 - b2^t), eps
//   m += (g - m) * (1 - b1)    v = b2 * v + (1 - b2) * g * g    w = shrink * w - step * m / (sqrt(v) * root_scale + eps)
KERNEL(multi_adamw, 256, (const Chunk *table, const float *scalars)) {
    const Chunk &chunk = table[blockIdx.x];
    scalars += 7 * chunk.rate;
    const Pointers at(chunk);
    const float shrink = chunk.decays ? scalars[3] : 1.f;
    for (int i = threadIdx.x; i < chunk.len; i += 256) {
        const float g = at.g[i], m = at.m[i] + scalars[0] * (g - at.m[i]), v = scalars[1] * at.v[i] + scalars[2] * g * g;
        at.m[i] = m;
        at.v[i] = v;
        at.w[i] = shrink * at.w[i] - scalars[4] * (m / (sqrtf(v) * scalars[5] + scalars[6]));
    }
}

// multi_sgd: scalars [rates][7] = decay, momentum, lr, 1 for Nesterov's; a chunk without m has no momentum.
//   g += decay * w    m = momentum * m + g    w -= lr * (nesterov ? g + momentum * m : m)
KERNEL(multi_sgd, 256, (const Chunk *table, const float *scalars)) {
    const Chunk &chunk = table[blockIdx.x];
    scalars += 7 * chunk.rate;
    const Pointers at(chunk);
    const float decay = chunk.decays ? scalars[0] : 0.f;
    for (int i = threadIdx.x; i < chunk.len; i += 256) {
        const float g = at.g[i] + decay * at.w[i];
        float direction = g;
        if (at.m) {
            const float m = scalars[1] * at.m[i] + g;
            at.m[i] = m;
            direction = scalars[3] != 0.f ? g + scalars[1] * m : m;
        }
        at.w[i] -= scalars[2] * direction;
    }
}

// multi_average: w is the average, g the weights: average += step * (weights - average), the weights themselves at step
// 1.
KERNEL(multi_average, 256, (const Chunk *table, const float *scalars)) {
    const Chunk &chunk = table[blockIdx.x];
    const Pointers at(chunk);
    const float step = scalars[0];
    for (int i = threadIdx.x; i < chunk.len; i += 256)
        at.w[i] = step == 1.f ? at.g[i] : at.w[i] + step * (at.g[i] - at.w[i]);
}

// muon_momentum: scalars = momentum, 1 for Nesterov's; v is the direction, squares [chunks] its sums of squares.
//   m = momentum * m + (1 - momentum) * g    direction = nesterov ? momentum * m + (1 - momentum) * g : m
KERNEL(muon_momentum, 256, (const Chunk *table, const float *scalars, float *squares)) {
    __shared__ float sums[256];
    const Chunk &chunk = table[blockIdx.x];
    const Pointers at(chunk);
    float sum = 0.f;
    for (int i = threadIdx.x; i < chunk.len; i += 256) {
        const float fresh = (1.f - scalars[0]) * at.g[i], m = scalars[0] * at.m[i] + fresh;
        at.m[i] = m;
        const float direction = scalars[1] != 0.f ? scalars[0] * m + fresh : m;
        at.v[i] = direction;
        sum += direction * direction;
    }
    sums[threadIdx.x] = sum;
    __syncthreads();
    for (int half = 128; half > 0; half /= 2) {
        if ((int)threadIdx.x < half) sums[threadIdx.x] += sums[threadIdx.x + half];
        __syncthreads();
    }
    if (threadIdx.x == 0) squares[blockIdx.x] = sums[0];
}

// muon_scale: direction /= max(its norm, 1e-7). `decays` has the first of the matrix's chunks, `g` how many it has.
KERNEL(muon_scale, 256, (const Chunk *table, const float *squares)) {
    const Chunk &chunk = table[blockIdx.x];
    double sum = 0.;
    for (unsigned long long i = 0; i < chunk.g; i++) sum += squares[chunk.decays + i];
    const double norm = sqrt(sum) > 1e-7 ? sqrt(sum) : 1e-7;
    float *direction = (float *)chunk.v;
    for (int i = threadIdx.x; i < chunk.len; i += 256) direction[i] = (float)(direction[i] / norm);
}

// muon_poly: factor = 2.0315 * square - 4.7750 * gram + 3.4445 * identity, of matrices [count, n, n]. Launch: a thread
// a value, 256 a block. Cost: reads square and gram, writes factor.
KERNEL(muon_poly, 256, (const float *square, const float *gram, float *factor, int count, int n)) {
    const Index at = (Index)blockIdx.x * 256 + threadIdx.x;
    if (at >= (Index)count * n * n) return;
    const int i = (int)(at % ((Index)n * n));
    factor[at] = 2.0315f * square[at] - 4.7750f * gram[at] + (i / n == i % n ? 3.4445f : 0.f);
}

// muon_update: w = shrink * w - lr * (scale * direction): v is the direction, scales [chunks] = 0.2 * sqrt(larger
// side); scalars [rates][2] = 1 - lr * decay, lr.
KERNEL(muon_update, 256, (const Chunk *table, const float *scalars, const float *scales)) {
    const Chunk &chunk = table[blockIdx.x];
    scalars += 2 * chunk.rate;
    const Pointers at(chunk);
    const float step = scalars[1] * scales[blockIdx.x], shrink = scalars[0];
    for (int i = threadIdx.x; i < chunk.len; i += 256) at.w[i] = shrink * at.w[i] - step * at.v[i];
}
