/* A number that two threads raise in turns; the round trips, and in *taken the nanoseconds they took. */
#include "gate.h"

enum { STRIDE = 16, TURNS = 64, LOOKS = 1024 };

static bool says(int64_t *line, int64_t wanted, int64_t *end, int64_t until) {
    for (int64_t looks = 1; __atomic_load_n(line, __ATOMIC_ACQUIRE) != wanted; looks++)
        if (looks % LOOKS == 0 && (__atomic_load_n(end, __ATOMIC_ACQUIRE) || nanoseconds() > until)) return false;
    return true;
}

int64_t ping_for(int64_t *lines, int64_t number, int64_t *gate, int64_t patience, int64_t window, int64_t *taken) {
    if (!arrive(gate, 2, patience)) return 0;
    int64_t start = nanoseconds(), now = start, count = 0, *end = lines + number * STRIDE;
    bool going = true;
    while (going && now - start < window) {
        int64_t *line = lines + count / TURNS % number * STRIDE;
        for (int turn = 0; going && turn < TURNS; turn++) {
            __atomic_store_n(line, 2 * count + 1, __ATOMIC_RELEASE);
            going = says(line, 2 * count + 2, end, start + window);
            count += going;
        }
        now = nanoseconds();
    }
    __atomic_store_n(end, 1, __ATOMIC_RELEASE);
    *taken = now - start;
    return count;
}

int64_t pong_for(int64_t *lines, int64_t number, int64_t *gate, int64_t patience, int64_t window, int64_t *taken) {
    if (!arrive(gate, 2, patience)) return 0;
    int64_t start = nanoseconds(), count = 0, *line = lines, *end = lines + number * STRIDE;
    while (says(line, 2 * count + 1, end, start + patience + window)) {
        __atomic_store_n(line, 2 * count + 2, __ATOMIC_RELEASE);
        if (++count % TURNS == 0) line = lines + count / TURNS % number * STRIDE;
    }
    *taken = nanoseconds() - start;
    return count;
}
