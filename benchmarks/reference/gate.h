/* The gate at which threads wait until all are there; bounded by the clock, as ours is. */
#include <stdbool.h>
#include <stdint.h>
#include <time.h>

static inline int64_t nanoseconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000000000LL + now.tv_nsec;
}

static inline void relax(void) {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

static inline bool arrive(int64_t *gate, int64_t threads, int64_t patience) {
    __atomic_fetch_add(gate, 1, __ATOMIC_SEQ_CST);
    int64_t until = nanoseconds() + patience;
    for (int64_t looks = 1; __atomic_load_n(gate, __ATOMIC_ACQUIRE) < threads; looks++) {
        if (looks % 64 == 0 && nanoseconds() > until) return false;
        relax();
    }
    return true;
}
