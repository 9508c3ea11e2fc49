/* Threads of which some spin and the rest wait.
 * usage: busy THREADS SPINNING SECONDS; prints `ready PID`. */
#define _GNU_SOURCE
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static atomic_int over;

static void *spin(void *unused) {
    volatile unsigned long x = 1;
    while (!atomic_load_explicit(&over, memory_order_relaxed)) x = x * 6364136223846793005ul + 1;
    return unused;
}

static void *rest(void *unused) {
    while (!atomic_load_explicit(&over, memory_order_relaxed)) usleep(200000);
    return unused;
}

int main(int argc, char **argv) {
    if (argc < 4) return 2;
    int threads = atoi(argv[1]), spinning = atoi(argv[2]), seconds = atoi(argv[3]);
    pthread_attr_t small;
    pthread_attr_init(&small);
    pthread_attr_setstacksize(&small, 64 << 10);
    for (long i = 0; i < threads - 1; i++) {
        pthread_t one;
        if (pthread_create(&one, &small, i < spinning ? spin : rest, NULL)) return 1;
    }
    printf("ready %d\n", getpid());
    fflush(stdout);
    usleep(seconds * 1000000);
    atomic_store(&over, 1);
}
