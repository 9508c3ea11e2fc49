/* A small server with one fault at a time, or without it: it times its operations and publishes what it measured.
 *
 * usage: faults FAULT faulty|healthy FOLDER SECONDS; prints `ready PID PORT` once it is at work.
 *
 *   lock     threads store under one mutex, or under one of 64
 *   wal      every stored record is padded to a block and flushed, or many share a block and a flush
 *   busy     threads compute; how many is what is at fault (the CPU quota, or the CPUs, are the caller's)
 *   disk     threads read and write at random past the page cache without a rest, or now and then
 *   memory   recalls read a mapping that is larger than memory allows (the limit is the caller's), or a small part of it
 *   vectors  similarities of 768 floats, one by one or eight at a time
 *   sharing  threads count in one cache line, or each in a line of its own
 *   many     threads do hardly anything: 10,000 of them, or ten
 *   other    one thread works, and the program becomes another one in the middle, or does not
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { DIMENSIONS = 768, RECORD = 256, BLOCK = 4096, GROUP = 256, MOST = 64 };

static int faulty;
static char folder[512];

static double now(void) {
    struct timespec at;
    clock_gettime(CLOCK_MONOTONIC, &at);
    return at.tv_sec + at.tv_nsec / 1e9;
}

static void nap(double seconds) {
    struct timespec span = {(time_t)seconds, (long)((seconds - (time_t)seconds) * 1e9)};
    nanosleep(&span, NULL);
}

static uint64_t next_random(uint64_t *state) {
    *state = *state * 6364136223846793005ull + 1442695040888963407ull;
    return *state >> 33;
}

/* ── what it measures of itself ─────────────────────────────────────────────────────────────────── */

static const double edges[] = {0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.015, 0.02,
                               0.03,    0.05,   0.075,   0.1,    0.25,  0.5,   1.0,   2.5,  5.0};
enum { EDGES = sizeof edges / sizeof *edges };

struct histogram {
    atomic_ulong counts[EDGES + 1];
    atomic_ulong nanoseconds;
};
static struct histogram recalls, stores, activations, flushes;
static atomic_ulong wal_bytes, store_bytes;

static void observe(struct histogram *of, double seconds) {
    int at = 0;
    while (at < EDGES && seconds > edges[at]) at++;
    atomic_fetch_add(&of->counts[at], 1);
    atomic_fetch_add(&of->nanoseconds, (unsigned long)(seconds * 1e9));
}

static unsigned long count(const struct histogram *of) {
    unsigned long all = 0;
    for (int at = 0; at <= EDGES; at++) all += atomic_load(&of->counts[at]);
    return all;
}

static void histogram(FILE *to, const char *name, const char *labels, const struct histogram *of) {
    unsigned long running = 0;
    const char *comma = *labels ? "," : "";
    for (int at = 0; at < EDGES; at++)
        fprintf(to, "%s_bucket{%s%sle=\"%g\"} %lu\n", name, labels, comma, edges[at], running += of->counts[at]);
    fprintf(to, "%s_bucket{%s%sle=\"+Inf\"} %lu\n", name, labels, comma, running += of->counts[EDGES]);
    fprintf(to, "%s_sum{%s} %.9f\n%s_count{%s} %lu\n", name, labels, of->nanoseconds / 1e9, name, labels, running);
}

static void operation(FILE *to, const char *name, const struct histogram *of) {
    char labels[100];
    if (!count(of)) return;
    snprintf(labels, sizeof labels, "operation=\"%s\",memory_space=\"default\"", name);
    histogram(to, "engram_memory_operation_duration_seconds", labels, of);
}

static void metrics(FILE *to) {
    fprintf(to, "# TYPE engram_memory_operation_duration_seconds histogram\n");
    operation(to, "recall", &recalls);
    operation(to, "store", &stores);
    operation(to, "activation", &activations);
    unsigned long all = count(&recalls) + count(&stores) + count(&activations);
    fprintf(to, "# TYPE engram_operations_total counter\nengram_operations_total %lu\n", all);
    fprintf(to, "# TYPE engram_recall_operations_total counter\nengram_recall_operations_total %lu\n", count(&recalls));
    fprintf(to, "# TYPE engram_store_operations_total counter\nengram_store_operations_total %lu\n", count(&stores));
    if (!count(&flushes)) return;
    fprintf(to, "# TYPE engram_wal_flush_duration_seconds histogram\n");
    histogram(to, "engram_wal_flush_duration_seconds", "", &flushes);
    fprintf(to, "# TYPE engram_wal_bytes_written_total counter\nengram_wal_bytes_written_total %lu\n", wal_bytes);
    fprintf(to, "# TYPE engram_store_bytes_total counter\nengram_store_bytes_total %lu\n", store_bytes);
}

static void answer(int client) {
    char request[1024], *body = NULL;
    size_t size = 0;
    if (recv(client, request, sizeof request, 0) <= 0) return;
    FILE *to = open_memstream(&body, &size);
    metrics(to);
    fclose(to);
    dprintf(client, "HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4\r\nContent-Length: %zu\r\n"
                    "Connection: close\r\n\r\n", size);
    for (size_t sent = 0; sent < size;) {
        ssize_t more = send(client, body + sent, size - sent, MSG_NOSIGNAL);
        if (more <= 0) break;
        sent += more;
    }
    free(body);
}

static void *serve(void *listening) {
    for (;;) {
        int client = accept((int)(intptr_t)listening, NULL, NULL);
        if (client < 0) continue;
        answer(client);
        close(client);
    }
    return NULL;
}

/* ── the faults: each does one operation ────────────────────────────────────────────────────────── */

static struct shard { pthread_mutex_t lock; long value; char apart[128]; } shards[MOST];

static void store_in_shards(int worker, uint64_t *seed) {
    int among = faulty ? 1 : MOST;
    (void)worker;
    for (int each = 0; each < 100000; each++) {
        struct shard *mine = &shards[next_random(seed) % among];
        pthread_mutex_lock(&mine->lock);
        for (int step = 0; step < 50; step++) mine->value += step ^ *seed;
        pthread_mutex_unlock(&mine->lock);
    }
}

static int log_file(int worker) {
    static _Thread_local int file = -1;
    char path[600];
    if (file >= 0) return file;
    snprintf(path, sizeof path, "%s/wal-%04d.log", folder, worker);
    file = open(path, O_CREAT | O_WRONLY | O_TRUNC, 0600);
    if (file < 0) { perror(path); exit(1); }
    return file;
}

static void to_log(int file, const char *bytes, size_t size) {
    double start = now();
    if (write(file, bytes, size) != (ssize_t)size || fdatasync(file)) { perror("write-ahead log"); exit(1); }
    observe(&flushes, now() - start);
    wal_bytes += size;
}

static void store_with_log(int worker, uint64_t *seed) {
    static _Thread_local char buffer[GROUP * RECORD];
    static _Thread_local int held;
    int file = log_file(worker);
    if (lseek(file, 0, SEEK_CUR) > 64 << 20) lseek(file, 0, SEEK_SET);
    memset(buffer + held * RECORD, (int)next_random(seed), RECORD);
    store_bytes += RECORD;
    if (faulty) {
        to_log(file, buffer, BLOCK);
    } else if (++held == GROUP) {
        to_log(file, buffer, sizeof buffer);
        held = 0;
        nap(0.02);
    }
}

static volatile double sink;

static void compute(int worker, uint64_t *seed) {
    double sum = 0;
    (void)worker;
    for (int each = 0; each < 2000000; each++) sum += next_random(seed) & 7;
    sink = sum;
    if (!faulty) nap(0.02);
}

static void through_disk(int worker, uint64_t *seed) {
    static _Thread_local int file = -1;
    static _Thread_local char *block;
    enum { SPAN = 64, SIZE = 1 << 20 };
    if (file < 0) {
        char path[600];
        snprintf(path, sizeof path, "%s/tier-%04d.dat", folder, worker);
        file = open(path, O_CREAT | O_RDWR | O_DIRECT, 0600);
        if (file < 0 || posix_memalign((void **)&block, BLOCK, SIZE)) { perror(path); exit(1); }
        memset(block, worker, SIZE);
        for (int at = 0; at < SPAN; at++)
            if (pwrite(file, block, SIZE, (off_t)at * SIZE) != SIZE) { perror(path); exit(1); }
    }
    int rounds = faulty ? 8 : 1;
    for (int each = 0; each < rounds; each++) {
        off_t at = (off_t)(next_random(seed) % SPAN) * SIZE;
        ssize_t moved = faulty && each % 2 ? pwrite(file, block, SIZE, at) : pread(file, block, faulty ? SIZE : BLOCK, at);
        if (moved <= 0) exit(1);
    }
    if (!faulty) nap(0.05);
}

static char *heap;
static const char *warm;
static volatile char touched;

static void from_warm_tier(int worker, uint64_t *seed) {
    enum { PAGES = 192 << 8 };
    (void)worker;
    for (int each = 0; each < 256; each++) touched = warm[next_random(seed) % (faulty ? PAGES : 1024) * BLOCK];
    if (!faulty) nap(0.02);
}

static void fill_warm_tier(void) {
    static char block[1 << 20];
    char path[600];
    snprintf(path, sizeof path, "%s/warm.dat", folder);
    int file = open(path, O_CREAT | O_RDWR | O_TRUNC, 0600);
    memset(block, 'm', sizeof block);
    for (int mib = 0; mib < 192; mib++)
        if (write(file, block, sizeof block) < 0) { perror(path); exit(1); }
    fsync(file);
    warm = mmap(NULL, 192 << 20, PROT_READ, MAP_SHARED, file, 0);
    if (warm == MAP_FAILED) { perror(path); exit(1); }
    madvise((void *)warm, 192 << 20, MADV_RANDOM);
    close(file);
    size_t held = faulty ? 56 << 20 : 8 << 20; /* what cannot be dropped */
    heap = malloc(held);
    memset(heap, 1, held);
}

static float vectors[512][DIMENSIONS] __attribute__((aligned(64)));

__attribute__((noinline, optimize("O2", "no-tree-vectorize")))
static float cosine_similarity_scalar(const float *left, const float *right) {
    float sum = 0;
    for (int at = 0; at < DIMENSIONS; at++) sum += left[at] * right[at];
    return sum;
}

#ifdef __x86_64__
__attribute__((noinline, target("avx2,fma"), optimize("O3", "fast-math")))
#else
__attribute__((noinline, optimize("O3", "fast-math")))
#endif
static float cosine_similarity_vector(const float *left, const float *right) {
    float sum = 0;
    for (int at = 0; at < DIMENSIONS; at++) sum += left[at] * right[at];
    return sum;
}

static void recall_by_similarity(int worker, uint64_t *seed) {
    float best = 0;
    (void)worker;
    for (int each = 0; each < 40000; each++) {
        const float *left = vectors[next_random(seed) % 512], *right = vectors[each % 512];
        float found = faulty ? cosine_similarity_scalar(left, right) : cosine_similarity_vector(left, right);
        if (found > best) best = found;
    }
    sink = best;
}

static struct { _Alignas(64) atomic_long near[8]; struct { _Alignas(64) atomic_long value; } apart[MOST]; } counters;

static void count_activations(int worker, uint64_t *seed) {
    atomic_long *mine = faulty ? &counters.near[worker % 8] : &counters.apart[worker].value;
    (void)seed;
    for (int each = 0; each < 2000000; each++) atomic_fetch_add_explicit(mine, 1, memory_order_relaxed);
}

static void rest(int worker, uint64_t *seed) {
    (void)worker, (void)seed;
    nap(1);
}

/* ── the server ─────────────────────────────────────────────────────────────────────────────────── */

struct fault {
    const char *name;
    void (*operate)(int worker, uint64_t *seed);
    struct histogram *of;
    int faulty_threads, healthy_threads;
};
static const struct fault faults[] = {
    {"lock", store_in_shards, &stores, 3, 3},        {"wal", store_with_log, &stores, 4, 1},
    {"busy", compute, &recalls, 16, 1},              {"disk", through_disk, &recalls, 16, 1},
    {"memory", from_warm_tier, &recalls, 3, 1},      {"vectors", recall_by_similarity, &recalls, 3, 3},
    {"sharing", count_activations, &activations, 3, 3}, {"many", rest, &recalls, 10000, 10},
    {"other", compute, &recalls, 1, 1},
};
static const struct fault *chosen;

static void *work(void *number) {
    int worker = (int)(intptr_t)number;
    uint64_t seed = 88172645463325252ull + worker;
    for (;;) {
        double start = now();
        chosen->operate(worker, &seed);
        observe(chosen->of, now() - start);
    }
    return NULL;
}

static int listen_on_any_port(int *port) {
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof at;
    int listening = socket(AF_INET, SOCK_STREAM, 0);
    if (bind(listening, (struct sockaddr *)&at, size) || listen(listening, 16)) return -1;
    getsockname(listening, (struct sockaddr *)&at, &size);
    *port = ntohs(at.sin_port);
    return listening;
}

int main(int argc, char **argv) {
    if (argc != 5) return 2;
    for (size_t at = 0; at < sizeof faults / sizeof *faults; at++)
        if (!strcmp(faults[at].name, argv[1])) chosen = &faults[at];
    if (!chosen) return 2;
    faulty = !strcmp(argv[2], "faulty");
    snprintf(folder, sizeof folder, "%s", argv[3]);
    for (int at = 0; at < MOST; at++) pthread_mutex_init(&shards[at].lock, NULL);
    for (int at = 0; at < 512 * DIMENSIONS; at++) vectors[at / DIMENSIONS][at % DIMENSIONS] = (at % 97) / 97.0f;
    if (!strcmp(chosen->name, "memory")) fill_warm_tier();
    int port = 0, listening = listen_on_any_port(&port);
    if (listening < 0) { perror("listen"); return 1; }
    pthread_t each;
    pthread_create(&each, NULL, serve, (void *)(intptr_t)listening);
    int threads = faulty ? chosen->faulty_threads : chosen->healthy_threads;
    pthread_attr_t small;
    pthread_attr_init(&small);
    pthread_attr_setstacksize(&small, 256 << 10);
    for (int worker = 0; worker < threads; worker++)
        if (pthread_create(&each, &small, work, (void *)(intptr_t)worker)) { perror("thread"); return 1; }
    nap(0.3);
    printf("ready %d %d\n", getpid(), port);
    fflush(stdout);
    nap(atof(argv[4]));
    if (faulty && !strcmp(chosen->name, "other")) execlp("sleep", "sleep", "20", NULL);
    return 0;
}
