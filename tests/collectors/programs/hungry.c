/* Goes through more memory than it may have, over and over: pages of a file, which are dropped and read again.
 * usage: hungry FILE MIB SECONDS; prints `ready PID`. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

int main(int argc, char **argv) {
    if (argc < 4) return 2;
    static char block[1 << 20];
    long mib = atol(argv[2]);
    int file = open(argv[1], O_CREAT | O_RDWR, 0600);
    memset(block, 'x', sizeof block);
    for (long i = 0; i < mib; i++)
        if (write(file, block, sizeof block) < 0) return 1;
    fsync(file);
    char *heap = malloc(56 << 20); /* what cannot be dropped */
    memset(heap, 1, 56 << 20);
    printf("ready %d\n", getpid());
    fflush(stdout);
    time_t end = time(NULL) + atol(argv[3]);
    while (time(NULL) < end)
        for (long i = 0; i < mib; i++)
            if (pread(file, block, sizeof block, i << 20) < 0) return 1;
    return heap[0] != 1;
}
