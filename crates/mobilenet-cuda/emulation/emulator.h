// CUDA's vocabulary for a C++ compiler, as far as the kernels use it: what `common.cu` finds in place of NVRTC's.
//
// Blocks run one after the other and a block's threads as fibers, each until its next barrier, in an order that a seed
// picks: what depends on that order lacks a barrier. Emulated are __syncthreads, __syncwarp and __shfl_xor_sync.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstring>
#include <type_traits>
#include <utility>

namespace emulator {

struct Three { unsigned x, y, z; };
extern thread_local Three thread_index, block_index, block_size, grid_size;

// Waits for the threads of the block, or of the warp, that still run.
void wait_for_block();
void wait_for_warp();
// Leaves 8 bytes for the other lanes of the warp, and takes those of the lane whose number differs in the bits of
// `mask`.
void exchange(void *value, unsigned size, unsigned mask);

// What a parameter is: p a pointer, l a 64-bit number, i a 32-bit one, f a float.
template <class P> constexpr char letter() {
    if (std::is_pointer_v<P>) return 'p';
    if (std::is_same_v<P, float>) return 'f';
    return sizeof(P) == 8 ? 'l' : 'i';
}

struct Kernel {
    const char *program, *name;
    void (*function)();
    void (*call)(void (*)(), void **);
    char letters[32];
    Kernel *next;
};
void enroll(Kernel *kernel);

template <class... P, size_t... I> void call_with(void (*f)(P...), void **arguments, std::index_sequence<I...>) {
    f(*static_cast<P *>(arguments[I])...);
}

template <class... P> struct Enrolled : Kernel {
    Enrolled(const char *in, const char *of, void (*f)(P...)) {
        program = in;
        name = of;
        function = reinterpret_cast<void (*)()>(f);
        call = [](void (*g)(), void **arguments) {
            call_with(reinterpret_cast<void (*)(P...)>(g), arguments, std::index_sequence_for<P...>{});
        };
        const char all[] = {letter<P>()..., 0};
        static_assert(sizeof(all) <= sizeof(letters), "parameters of a kernel");
        memcpy(letters, all, sizeof(all));
        enroll(this);
    }
};
template <class... P> Enrolled(const char *, const char *, void (*)(P...)) -> Enrolled<P...>;

template <class V> V exchanged(V value, unsigned mask) {
    static_assert(sizeof(V) <= 8, "a lane's value");
    exchange(&value, sizeof(V), mask);
    return value;
}

} // namespace emulator

#define DEVICE inline
#define UNROLL
#define KERNEL(name, threads, params)                                                                                  \
    static void name params;                                                                                           \
    static emulator::Enrolled enrolled_##name(PROGRAM, #name, name);                                                   \
    static void name params
#define threadIdx emulator::thread_index
#define blockIdx emulator::block_index
#define blockDim emulator::block_size
#define gridDim emulator::grid_size
// One OS thread runs one block at a time.
#define __shared__ static thread_local
#define __syncthreads emulator::wait_for_block
#define __syncwarp(...) emulator::wait_for_warp()
#define __shfl_xor_sync(lanes, value, mask) emulator::exchanged(value, mask)

inline float from_bits(unsigned bits) {
    float x;
    memcpy(&x, &bits, 4);
    return x;
}
inline unsigned bf16_bits(float x) {
    unsigned bits;
    memcpy(&bits, &x, 4);
    if (x != x) return bits >> 16 | 0x40u;
    return (bits + 0x7fffu + (bits >> 16 & 1u)) >> 16;
}
inline unsigned to_bf16s(float a, float b) { return bf16_bits(a) | bf16_bits(b) << 16; }
