// Batch norm folded into the convolution before it, for inference: with scale = gamma / sqrt(var + eps),
//   folded = scale * weight,  bias = beta - mean * scale,  and affine [4][c] = 0, 1, bias, 0, as the passes over rows take it.

// fold: weight [c, inner] -> folded, as T where it goes into a product, as float elsewhere. Launch: 256 threads a row
// of the weight. Cost: reads and writes the weight once.
KERNEL(fold, 256,
       (const float *weight, const float *gamma, const float *beta, const float *mean, const float *var, float eps,
        T *product, float *filter, float *affine, int c, int inner)) {
    const int ch = blockIdx.x;
    const double scale = gamma[ch] / sqrt((double)var[ch] + (double)eps);
    for (int i = threadIdx.x; i < inner; i += 256) {
        const float folded[1] = {(float)(scale * weight[(Index)ch * inner + i])};
        if (product) store<1>(product + (Index)ch * inner + i, folded);
        if (filter) filter[(Index)ch * inner + i] = folded[0];
    }
    if (threadIdx.x != 0) return;
    affine[ch] = affine[3 * c + ch] = 0.f;
    affine[c + ch] = 1.f;
    affine[2 * c + ch] = (float)(beta[ch] - mean[ch] * scale);
}

// unit_affine: affine [4][c] = 0, 1, 0, 0, of a pass that changes nothing. Launch: a thread a channel, 256 a block.
KERNEL(unit_affine, 256, (float *affine, int c)) {
    const int ch = blockIdx.x * 256 + threadIdx.x;
    if (ch >= c) return;
    affine[ch] = affine[2 * c + ch] = affine[3 * c + ch] = 0.f;
    affine[c + ch] = 1.f;
}
