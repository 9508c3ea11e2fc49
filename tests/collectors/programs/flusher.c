/* Threads append 256 bytes and flush, each to a file of its own, by fsync and fdatasync in turns.
 * usage: flusher FOLDER THREADS SECONDS PAUSE_US; prints `ready PID`, at the end or on SIGTERM `ops N seconds S`. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static atomic_int over;
static const char *folder;
static int pause_us;

static void stop(int signal) { (void)signal; atomic_store(&over, 1); }

static void *work(void *seed) {
    char path[4096], bytes[256];
    long done = 0;
    memset(bytes, 'x', sizeof bytes);
    snprintf(path, sizeof path, "%s/wal-%ld", folder, (long)seed);
    int file = open(path, O_CREAT | O_WRONLY | O_APPEND, 0600);
    while (!atomic_load(&over)) {
        if (write(file, bytes, sizeof bytes) < 0) break;
        if ((done & 1) ? fdatasync(file) : fsync(file)) break;
        done++;
        if (pause_us) usleep(pause_us);
    }
    close(file);
    return (void *)done;
}

int main(int argc, char **argv) {
    folder = argv[1];
    int threads = atoi(argv[2]), seconds = atoi(argv[3]);
    pause_us = argc > 4 ? atoi(argv[4]) : 0;
    pthread_t all[64];
    signal(SIGTERM, stop);
    struct timespec start, now;
    clock_gettime(CLOCK_MONOTONIC, &start);
    for (long i = 0; i < threads; i++) pthread_create(&all[i], NULL, work, (void *)(i + 1));
    printf("ready %d\n", getpid());
    fflush(stdout);
    for (int i = 0; i < seconds * 100 && !atomic_load(&over); i++) usleep(10000);
    atomic_store(&over, 1);
    long ops = 0;
    for (int i = 0; i < threads; i++) { void *done; pthread_join(all[i], &done); ops += (long)done; }
    clock_gettime(CLOCK_MONOTONIC, &now);
    printf("ops %ld seconds %.6f\n", ops, now.tv_sec - start.tv_sec + (now.tv_nsec - start.tv_nsec) / 1e9);
}
