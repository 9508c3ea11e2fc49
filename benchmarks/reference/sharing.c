/* Counters that threads add to, each to its own; the count, and in *taken the nanoseconds it took. */
#include "gate.h"
#include <string.h>

enum { BATCH = 512, MOST_FLOAT = (1 << 24) - BATCH };

int64_t add_for(int64_t *counters, int64_t which, int64_t *gate, int64_t threads,
                int64_t patience, int64_t window, int64_t *taken) {
    if (!arrive(gate, threads, patience)) return 0;
    int64_t start = nanoseconds(), now = start, count = 0;
    while (now - start < window) {
        for (int turn = 0; turn < BATCH; turn++) __atomic_fetch_add(counters + which, 1, __ATOMIC_SEQ_CST);
        count += BATCH;
        now = nanoseconds();
    }
    *taken = now - start;
    return count;
}

int64_t float_add_for(uint32_t *bits, int64_t which, int64_t *gate, int64_t threads,
                      int64_t patience, int64_t window, int64_t *taken) {
    if (!arrive(gate, threads, patience)) return 0;
    int64_t start = nanoseconds(), now = start, count = 0;
    while (now - start < window && count < MOST_FLOAT) {
        for (int turn = 0; turn < BATCH; turn++) {
            uint32_t seen = __atomic_load_n(bits + which, __ATOMIC_RELAXED), raised;
            float value;
            do {
                memcpy(&value, &seen, sizeof value);
                value += 1.0f;
                memcpy(&raised, &value, sizeof raised);
            } while (!__atomic_compare_exchange_n(bits + which, &seen, raised, true,
                                                  __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE));
        }
        count += BATCH;
        now = nanoseconds();
    }
    *taken = now - start;
    return count;
}
