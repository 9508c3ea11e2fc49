/* A pool of threads that is woken now and then, by a condition variable and by a semaphore, and one that wakes by the
 * clock: waits, and no contention.
 * usage: idle_waits SECONDS; prints `ready PID`. */
#include <pthread.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t wanted = PTHREAD_COND_INITIALIZER;
static sem_t tickets;
static int work;

static void *by_condition(void *unused) {
    for (;;) {
        pthread_mutex_lock(&lock);
        while (!work) pthread_cond_wait(&wanted, &lock);
        work--;
        pthread_mutex_unlock(&lock);
    }
    return unused;
}

static void *by_semaphore(void *unused) {
    for (;;) sem_wait(&tickets);
    return unused;
}

static void *by_clock(void *unused) {
    static pthread_mutex_t own = PTHREAD_MUTEX_INITIALIZER;
    static pthread_cond_t never = PTHREAD_COND_INITIALIZER;
    struct timespec until;
    pthread_mutex_lock(&own);
    for (;;) {
        clock_gettime(CLOCK_REALTIME, &until);
        until.tv_nsec += 5000000;
        if (until.tv_nsec >= 1000000000) { until.tv_nsec -= 1000000000; until.tv_sec++; }
        pthread_cond_timedwait(&never, &own, &until);
    }
    return unused;
}

int main(int argc, char **argv) {
    int turns = (argc > 1 ? atoi(argv[1]) : 5) * 500;
    pthread_t thread;
    sem_init(&tickets, 0, 0);
    for (int i = 0; i < 3; i++) {
        pthread_create(&thread, NULL, by_condition, NULL);
        pthread_create(&thread, NULL, by_semaphore, NULL);
    }
    pthread_create(&thread, NULL, by_clock, NULL);
    printf("ready %d\n", getpid());
    fflush(stdout);
    for (int i = 0; i < turns; i++) {
        usleep(2000);
        pthread_mutex_lock(&lock);
        work++;
        pthread_cond_signal(&wanted);
        pthread_mutex_unlock(&lock);
        sem_post(&tickets);
    }
}
