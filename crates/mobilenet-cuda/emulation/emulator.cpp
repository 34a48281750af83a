// Runs kernels on the CPU: see emulator.h.
#include "emulator.h"

#include <algorithm>
#include <cstdio>
#include <memory>
#include <random>
#include <string>
#include <vector>

#if defined(__SANITIZE_ADDRESS__) || !defined(__x86_64__)
#define SWITCHES_CONTEXTS
#include <ucontext.h>
#endif

namespace emulator {

thread_local Three thread_index, block_index, block_size, grid_size;

namespace {

constexpr size_t STACK = 1 << 18;
enum class State { Fresh, Ready, AtBlock, AtWarp, Done };

#ifdef SWITCHES_CONTEXTS
using Context = ucontext_t;
#else
using Context = void *;
// Stores the callee's registers on the stack and goes on with another one.
extern "C" void emulator_switch(void **from, void *to);
asm(R"(
.text
.globl emulator_switch
.type emulator_switch, @function
emulator_switch:
    push %rbp
    push %rbx
    push %r12
    push %r13
    push %r14
    push %r15
    mov %rsp, (%rdi)
    mov %rsi, %rsp
    pop %r15
    pop %r14
    pop %r13
    pop %r12
    pop %rbx
    pop %rbp
    ret
.size emulator_switch, .-emulator_switch
.section .note.GNU-stack,"",@progbits
.text
)");
#endif

struct Stack { std::unique_ptr<char[]> bytes{new char[STACK]}; };

struct Fiber {
    Context context;
    State state = State::Fresh;
    Three index{};
    unsigned lane = 0;
    double slot = 0;
    Stack *stack = nullptr;
};

struct Machine {
    std::vector<Fiber> fibers;
    std::vector<std::unique_ptr<Stack>> stacks;
    std::vector<Stack *> spare;
    Fiber *current = nullptr;
    Context scheduler;
    const Kernel *kernel = nullptr;
    void **arguments = nullptr;
};
thread_local Machine machine;

Kernel *&kernels() {
    static Kernel *first = nullptr;
    return first;
}

void leave(State state) {
    Fiber *fiber = machine.current;
    fiber->state = state;
#ifdef SWITCHES_CONTEXTS
    swapcontext(&fiber->context, &machine.scheduler);
#else
    emulator_switch(&fiber->context, machine.scheduler);
#endif
}

void run_thread() {
    machine.kernel->call(machine.kernel->function, machine.arguments);
    leave(State::Done);
}

void enter(Fiber &fiber) {
    if (fiber.state == State::Fresh) {
        if (machine.spare.empty()) {
            machine.stacks.emplace_back(new Stack);
            machine.spare.push_back(machine.stacks.back().get());
        }
        fiber.stack = machine.spare.back();
        machine.spare.pop_back();
        char *bytes = fiber.stack->bytes.get();
#ifdef SWITCHES_CONTEXTS
        getcontext(&fiber.context);
        fiber.context.uc_stack.ss_sp = bytes;
        fiber.context.uc_stack.ss_size = STACK;
        fiber.context.uc_link = &machine.scheduler;
        makecontext(&fiber.context, run_thread, 0);
#else
        // Six registers, and the address to return to, below an aligned one.
        auto top = reinterpret_cast<void **>(reinterpret_cast<size_t>(bytes + STACK) & ~size_t(15));
        top[-2] = reinterpret_cast<void *>(run_thread);
        fiber.context = top - 8;
#endif
    }
    fiber.state = State::Ready;
    machine.current = &fiber;
    thread_index = fiber.index;
#ifdef SWITCHES_CONTEXTS
    swapcontext(&machine.scheduler, &fiber.context);
#else
    emulator_switch(&machine.scheduler, fiber.context);
#endif
    if (fiber.state == State::Done) machine.spare.push_back(fiber.stack);
}

// Lets through those of some threads that wait at a barrier, if no other thread among them can still come to it.
bool release(Fiber *first, Fiber *last, State barrier) {
    bool waits = false;
    for (Fiber *f = first; f < last; f++) {
        if (f->state == barrier) waits = true;
        else if (f->state != State::Done) return false;
    }
    for (Fiber *f = first; waits && f < last; f++)
        if (f->state == barrier) f->state = State::Ready;
    return waits;
}

bool run_block(std::vector<unsigned> &order, std::mt19937 *random) {
    std::vector<Fiber> &fibers = machine.fibers;
    const size_t n = fibers.size();
    for (;;) {
        if (random) std::shuffle(order.begin(), order.end(), *random);
        for (unsigned t : order)
            if (fibers[t].state <= State::Ready) enter(fibers[t]);
        bool goes_on = false;
        for (size_t warp = 0; warp < n; warp += 32)
            goes_on |= release(&fibers[warp], fibers.data() + std::min(n, warp + 32), State::AtWarp);
        if (goes_on) continue;
        const auto done = [](const Fiber &f) { return f.state == State::Done; };
        if (std::all_of(fibers.begin(), fibers.end(), done)) return true;
        // Threads that have left do not come to a barrier: one that waits for them is a mistake.
        if (std::any_of(fibers.begin(), fibers.end(), done)) return false;
        if (!release(fibers.data(), fibers.data() + n, State::AtBlock)) return false;
    }
}

} // namespace

void enroll(Kernel *kernel) {
    kernel->next = kernels();
    kernels() = kernel;
}

void wait_for_block() { leave(State::AtBlock); }
void wait_for_warp() { leave(State::AtWarp); }

void exchange(void *value, unsigned size, unsigned mask) {
    Fiber *own = machine.current;
    memcpy(&own->slot, value, size);
    wait_for_warp();
    memcpy(value, &machine.fibers[own->lane ^ mask].slot, size);
    wait_for_warp();
}

} // namespace emulator

using namespace emulator;

// Runs a kernel. Returns 0, or writes what is wrong.
extern "C" int emulator_launch(const char *program, const char *name, const char *letters, const unsigned *grid,
                               const unsigned *block, void **arguments, unsigned seed, char *error, size_t size) {
    const Kernel *kernel = kernels();
    while (kernel && (strcmp(kernel->program, program) || strcmp(kernel->name, name))) kernel = kernel->next;
    if (!kernel) return snprintf(error, size, "%s: no kernel %s", program, name), 1;
    if (strcmp(kernel->letters, letters))
        return snprintf(error, size, "%s: expected parameters %s, found %s", name, kernel->letters, letters), 1;
    machine.kernel = kernel;
    machine.arguments = arguments;
    grid_size = Three{grid[0], grid[1], grid[2]};
    block_size = Three{block[0], block[1], block[2]};
    const unsigned n = block[0] * block[1] * block[2];
    const size_t blocks = size_t(grid[0]) * grid[1] * grid[2];
    std::mt19937 random(seed);
    std::vector<unsigned> order(n);
    for (unsigned t = 0; t < n; t++) order[t] = t;
    std::vector<size_t> block_order(blocks);
    for (size_t b = 0; b < blocks; b++) block_order[b] = b;
    if (seed) std::shuffle(block_order.begin(), block_order.end(), random);
    machine.fibers.resize(n);
    for (size_t b : block_order) {
        block_index = Three{unsigned(b % grid[0]), unsigned(b / grid[0] % grid[1]), unsigned(b / grid[0] / grid[1])};
        for (unsigned t = 0; t < n; t++) {
            Fiber &fiber = machine.fibers[t];
            fiber.state = State::Fresh;
            fiber.index = Three{t % block[0], t / block[0] % block[1], t / block[0] / block[1]};
            fiber.lane = t;
        }
        if (!run_block(order, seed ? &random : nullptr)) {
            machine.fibers.clear();
            machine.spare.clear();
            machine.stacks.clear();
            return snprintf(error, size, "%s: threads wait at a barrier that others have passed by", name), 1;
        }
    }
    return 0;
}

namespace {

float value_of(const void *p, int is_bf16, long long at) {
    if (!is_bf16) return static_cast<const float *>(p)[at];
    return from_bits(unsigned(static_cast<const unsigned short *>(p)[at]) << 16);
}

} // namespace

// A product of row-major matrices: c [m, n] = a * b (+ c), a [m, k] or, if `at`, stored as [k, m]; b [k, n] or [n, k].
// Kinds: 1 is bf16, 0 float. Sums are float, over runs of 256 products.
extern "C" void emulator_gemm(int m, int n, int k, const void *a, int a_kind, long long lda, int at, const void *b,
                              int b_kind, long long ldb, int bt, void *c, int c_kind, long long ldc, int accumulate) {
    std::vector<float> right(size_t(k) * n), row(n), run(n), left(k);
    for (int i = 0; i < k; i++)
        for (int j = 0; j < n; j++) right[size_t(i) * n + j] = value_of(b, b_kind, bt ? j * ldb + i : i * ldb + j);
    for (int r = 0; r < m; r++) {
        for (int i = 0; i < k; i++) left[i] = value_of(a, a_kind, at ? i * lda + r : r * lda + i);
        std::fill(row.begin(), row.end(), 0.f);
        for (int from = 0; from < k; from += 256) {
            std::fill(run.begin(), run.end(), 0.f);
            for (int i = from; i < std::min(k, from + 256); i++) {
                const float x = left[i];
                const float *y = &right[size_t(i) * n];
                for (int j = 0; j < n; j++) run[j] += x * y[j];
            }
            for (int j = 0; j < n; j++) row[j] += run[j];
        }
        for (int j = 0; j < n; j++) {
            const long long to = r * ldc + j;
            const float sum = row[j] + (accumulate ? value_of(c, c_kind, to) : 0.f);
            if (c_kind) static_cast<unsigned short *>(c)[to] = (unsigned short)bf16_bits(sum);
            else static_cast<float *>(c)[to] = sum;
        }
    }
}
