/* Keys counted in a table of sharded spin locks; how many, and in *taken the nanoseconds it took. */
#include "gate.h"

enum { STRIDE = 16, BATCH = 256, MOST_PAUSES = 8 };

static bool tried(int64_t *lock) {
    int64_t expected = 0;
    return __atomic_compare_exchange_n(lock, &expected, 1, false, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE);
}

static bool waited(int64_t *lock, int64_t until) {
    for (int64_t pauses = 1; pauses < MOST_PAUSES || nanoseconds() < until;) {
        for (int64_t turn = 0; turn < pauses; turn++) relax();
        if (__atomic_load_n(lock, __ATOMIC_ACQUIRE) == 0 && tried(lock)) return true;
        if (pauses < MOST_PAUSES) pauses *= 2;
    }
    return false;
}

int64_t count_for(int64_t *locks, int64_t shards, int64_t *counts, const int32_t *keys, int64_t length,
                  int64_t *gate, int64_t threads, int64_t patience, int64_t window, int64_t *taken) {
    if (!arrive(gate, threads, patience)) return 0;
    int64_t start = nanoseconds(), now = start, count = 0, at = 0;
    uint64_t mask = (uint64_t)shards - 1;
    while (now - start < window) {
        for (int turn = 0; turn < BATCH; turn++) {
            int32_t key = keys[at];
            int64_t *lock = locks + ((((uint64_t)key * 0x9E3779B97F4A7C15ULL) >> 40) & mask) * STRIDE;
            if (!tried(lock) && !waited(lock, start + window)) {
                *taken = nanoseconds() - start;
                return count;
            }
            counts[key] += 1;
            __atomic_store_n(lock, 0, __ATOMIC_RELEASE);
            count++;
            if (++at == length) at = 0;
        }
        now = nanoseconds();
    }
    *taken = now - start;
    return count;
}
