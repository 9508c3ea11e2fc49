/* N threads take one mutex (or, with `shards` > 1, one of several) in turns for so many seconds.
 * usage: one_lock THREADS SHARDS SECONDS [NAME]; prints `ready PID`, at the end `ops N`. */
#define _GNU_SOURCE
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

struct shard { pthread_mutex_t lock; long value; char pad[128]; };
static struct shard *shards;
static int count;
static atomic_int over;
static const char *name;

static void *work(void *seed) {
    unsigned long x = (unsigned long)seed * 2654435761u + 1;
    long done = 0;
    if (name) prctl(PR_SET_NAME, name);
    while (!atomic_load_explicit(&over, memory_order_relaxed)) {
        x = x * 6364136223846793005ul + 1442695040888963407ul;
        struct shard *mine = &shards[(x >> 33) % count];
        pthread_mutex_lock(&mine->lock);
        for (int i = 0; i < 50; i++) mine->value += i ^ x;
        pthread_mutex_unlock(&mine->lock);
        done++;
    }
    return (void *)done;
}

int main(int argc, char **argv) {
    int threads = argc > 1 ? atoi(argv[1]) : 4;
    count = argc > 2 ? atoi(argv[2]) : 1;
    int seconds = argc > 3 ? atoi(argv[3]) : 5;
    name = argc > 4 ? argv[4] : NULL;
    pthread_t all[256];
    shards = calloc(count, sizeof *shards);
    for (int i = 0; i < count; i++) pthread_mutex_init(&shards[i].lock, NULL);
    for (long i = 0; i < threads; i++) pthread_create(&all[i], NULL, work, (void *)(i + 1));
    printf("ready %d\n", getpid());
    fflush(stdout);
    struct timespec start, now;
    clock_gettime(CLOCK_MONOTONIC, &start);
    usleep(seconds * 1000000);
    atomic_store(&over, 1);
    long ops = 0;
    for (int i = 0; i < threads; i++) { void *done; pthread_join(all[i], &done); ops += (long)done; }
    clock_gettime(CLOCK_MONOTONIC, &now);
    double took = now.tv_sec - start.tv_sec + (now.tv_nsec - start.tv_nsec) / 1e9;
    printf("ops %ld seconds %.6f\n", ops, took);
}
