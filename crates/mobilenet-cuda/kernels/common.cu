// What all kernels share. It stands before every other file: NVRTC gets both as one program, without includes.
//
// Layout: images are channels-last, a matrix of `rows = n * h * w` by `c` values. `T` is what expanded tensors consist
// of, `X` what a kernel reads (both float or Bf16, chosen by the program's definitions); parameters, statistics and all
// sums are float.
//
// Launch shape of the passes over rows: a block is `blockDim.x` groups of `V` neighboring channels by `blockDim.y`
// rows; the grid is blocks of channels by parts of the rows. A part's sums are added up in the order of the rows'
// threads, the parts' sums by a later kernel in the parts' order: no atomics, the same bits each time.

struct Bf16 { unsigned short bits; };

#ifdef T_BF16
typedef Bf16 T;
#else
typedef float T;
#endif
#ifdef X_BF16
typedef Bf16 X;
#else
typedef float X;
#endif

#ifndef KERNEL
#define DEVICE __device__ __forceinline__
// One block a multiprocessor at least, which asks for nothing: without a number ptxas guesses one, and spills for it.
#define KERNEL(name, threads, params) extern "C" __global__ void __launch_bounds__(threads, 1) name params
#define UNROLL _Pragma("unroll")
DEVICE float from_bits(unsigned bits) { return __uint_as_float(bits); }
// Two values rounded to the nearest bf16, the first in the lower half.
DEVICE unsigned to_bf16s(float a, float b) {
    unsigned both;
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(both) : "f"(b), "f"(a));
    return both;
}
#endif

// A kernel for `V` channels at a time in two forms: `name4` where four divide the channels, `name1` for any number.
#define KERNELS(name, threads, params, args)                                                                           \
    KERNEL(name##4, threads, params) { name<4> args; }                                                                 \
    KERNEL(name##1, threads, params) { name<1> args; }

typedef long long Index;

// Threads of a block at most, of passes over rows.
#define ROW_THREADS 256

struct alignas(8) Words2 { unsigned word[2]; };
struct alignas(8) Floats2 { float value[2]; };
struct alignas(16) Floats4 { float value[4]; };

template <int V> DEVICE void load(const float *p, float (&x)[V]) {
    if constexpr (V == 4) {
        const Floats4 four = *reinterpret_cast<const Floats4 *>(p);
        UNROLL for (int i = 0; i < 4; i++) x[i] = four.value[i];
    } else if constexpr (V == 2) {
        const Floats2 two = *reinterpret_cast<const Floats2 *>(p);
        x[0] = two.value[0];
        x[1] = two.value[1];
    } else {
        UNROLL for (int i = 0; i < V; i++) x[i] = p[i];
    }
}

template <int V> DEVICE void load(const Bf16 *p, float (&x)[V]) {
    if constexpr (V == 4) {
        const Words2 words = *reinterpret_cast<const Words2 *>(p);
        UNROLL for (int i = 0; i < 4; i++) {
            const unsigned word = words.word[i / 2];
            x[i] = from_bits(i % 2 ? word & 0xffff0000u : word << 16);
        }
    } else if constexpr (V == 2) {
        const unsigned word = *reinterpret_cast<const unsigned *>(p);
        x[0] = from_bits(word << 16);
        x[1] = from_bits(word & 0xffff0000u);
    } else {
        UNROLL for (int i = 0; i < V; i++) x[i] = from_bits((unsigned)p[i].bits << 16);
    }
}

template <int V> DEVICE void store(float *p, const float (&x)[V]) {
    if constexpr (V == 4) {
        Floats4 four;
        UNROLL for (int i = 0; i < 4; i++) four.value[i] = x[i];
        *reinterpret_cast<Floats4 *>(p) = four;
    } else if constexpr (V == 2) {
        Floats2 two;
        two.value[0] = x[0];
        two.value[1] = x[1];
        *reinterpret_cast<Floats2 *>(p) = two;
    } else {
        UNROLL for (int i = 0; i < V; i++) p[i] = x[i];
    }
}

template <int V> DEVICE void store(Bf16 *p, const float (&x)[V]) {
    if constexpr (V == 4) {
        Words2 words;
        words.word[0] = to_bf16s(x[0], x[1]);
        words.word[1] = to_bf16s(x[2], x[3]);
        *reinterpret_cast<Words2 *>(p) = words;
    } else if constexpr (V == 2) {
        *reinterpret_cast<unsigned *>(p) = to_bf16s(x[0], x[1]);
    } else {
        UNROLL for (int i = 0; i < V; i++) p[i].bits = (unsigned short)(to_bf16s(x[i], 0.f) & 0xffffu);
    }
}

// A value as `S` holds it.
template <class S> DEVICE float rounded(float x);
template <> DEVICE float rounded<float>(float x) { return x; }
template <> DEVICE float rounded<Bf16>(float x) { return from_bits(to_bf16s(x, 0.f) << 16); }

// The activations by their numbers, and PyTorch's derivatives at the kinks. Comparisons keep NaN.
enum { IDENTITY = 0, RELU = 1, RELU6 = 2, HSWISH = 3, HSIGMOID = 4 };

DEVICE float relu(float x) { return x < 0.f ? 0.f : x; }
DEVICE float relu6(float x) {
    x = relu(x);
    return x > 6.f ? 6.f : x;
}

DEVICE float activate(int act, float x) {
    switch (act) {
    case RELU: return relu(x);
    case RELU6: return relu6(x);
    case HSWISH: return x * (relu6(x + 3.f) * (1.f / 6.f));
    case HSIGMOID: return relu6(x + 3.f) * (1.f / 6.f);
    default: return x;
    }
}

DEVICE float derivative(int act, float x) {
    switch (act) {
    case RELU: return x > 0.f ? 1.f : 0.f;
    case RELU6: return x > 0.f && x < 6.f ? 1.f : 0.f;
    case HSWISH: return x < 3.f ? (x > -3.f ? x * (1.f / 3.f) + 0.5f : 0.f) : 1.f;
    case HSIGMOID: return x > -3.f && x < 3.f ? 1.f / 6.f : 0.f;
    default: return 1.f;
    }
}

// A thread's channels: the first of `V`; `c` or more where there are none.
template <int V> DEVICE int first_channel() { return (int)(blockIdx.x * blockDim.x + threadIdx.x) * V; }

// The first of a thread's rows, and how far it is from one to the next. There are fewer than 2^31 rows; their elements may
// be more. What divides rows does so in 32 bits: 64 take a subroutine, before which registers spill.
DEVICE Index first_row() { return (Index)blockIdx.y * blockDim.y + threadIdx.y; }
DEVICE Index row_step() { return (Index)gridDim.y * blockDim.y; }

// Whether a thread takes over what the row of threads `reach` further has: rows are put together in pairs, then pairs in
// pairs, and so on, until the first one has all.
DEVICE bool takes_over(unsigned reach) { return threadIdx.y % (2 * reach) == 0 && threadIdx.y + reach < blockDim.y; }

// Adds up `V` values over the rows of threads, in pairs, for the threads of the first row. All threads of a block call
// it. `scratch` holds `V` of them for each thread.
template <int V, class F> DEVICE void add_up_rows(F (&x)[V], F *scratch) {
    F *own = scratch + (threadIdx.y * blockDim.x + threadIdx.x) * V;
    UNROLL for (int i = 0; i < V; i++) own[i] = x[i];
    for (unsigned reach = 1; reach < blockDim.y; reach *= 2) {
        __syncthreads();
        if (takes_over(reach)) UNROLL for (int i = 0; i < V; i++) own[i] += own[reach * blockDim.x * V + i];
    }
    if (threadIdx.y == 0) UNROLL for (int i = 0; i < V; i++) x[i] = own[i];
    __syncthreads();
}

// Mean and sum of squared distances from it, of so many values.
struct Moments { float count, mean, square; };

DEVICE Moments merged(Moments a, Moments b) {
    const float count = a.count + b.count;
    if (count == 0.f) return a;
    const float distance = b.mean - a.mean, share = b.count / count;
    return Moments{count, a.mean + distance * share, a.square + b.square + distance * distance * a.count * share};
}

// The running moments of `V` channels, about the first value: sums about 0 would cancel where the mean is much larger
// than the deviation.
template <int V> struct RunningMoments {
    float count, origin[V], sum[V], square[V];

    DEVICE void begin() {
        count = 0.f;
        UNROLL for (int i = 0; i < V; i++) origin[i] = sum[i] = square[i] = 0.f;
    }
    DEVICE void add(const float (&x)[V]) {
        UNROLL for (int i = 0; i < V; i++) {
            if (count == 0.f) origin[i] = x[i];
            const float distance = x[i] - origin[i];
            sum[i] += distance;
            square[i] += distance * distance;
        }
        count += 1.f;
    }
    DEVICE Moments of(int i) const {
        if (count == 0.f) return Moments{0.f, 0.f, 0.f};
        const float mean = sum[i] / count;
        return Moments{count, origin[i] + mean, square[i] - sum[i] * mean};
    }
    // Writes a part's moments, `part[3][parts][c]`: counts, means, squares. All threads of a block call it; `scratch`
    // holds `V` for each thread.
    DEVICE void write(float *part, int c, Moments *scratch) const {
        Moments *own = scratch + (threadIdx.y * blockDim.x + threadIdx.x) * V;
        UNROLL for (int i = 0; i < V; i++) own[i] = of(i);
        for (unsigned reach = 1; reach < blockDim.y; reach *= 2) {
            __syncthreads();
            if (takes_over(reach))
                UNROLL for (int i = 0; i < V; i++) own[i] = merged(own[i], own[reach * blockDim.x * V + i]);
        }
        const int c0 = first_channel<V>();
        if (threadIdx.y != 0) return;
        UNROLL for (int i = 0; i < V; i++) {
            if (c0 + i >= c) continue;
            part[(0 * gridDim.y + blockIdx.y) * (Index)c + c0 + i] = own[i].count;
            part[(1 * gridDim.y + blockIdx.y) * (Index)c + c0 + i] = own[i].mean;
            part[(2 * gridDim.y + blockIdx.y) * (Index)c + c0 + i] = own[i].square;
        }
    }
};
