#include <stddef.h>
#include <stdint.h>
#include <string.h>
#ifdef __SSE2__
#include <immintrin.h>
#endif

/* Vectors as wide as the registers are: what a careful hand would write. */
#if defined(__AVX512F__)
#define WIDTH 64
#define PAST(place, value) _mm512_stream_pd(place, (__m512d)(value))
#elif defined(__AVX__)
#define WIDTH 32
#define PAST(place, value) _mm256_stream_pd(place, (__m256d)(value))
#elif defined(__SSE2__)
#define WIDTH 16
#define PAST(place, value) _mm_stream_pd(place, (__m128d)(value))
#else
#define WIDTH 16
#define PAST(place, value) (*(vector *)(place) = (value))
#endif
typedef double vector __attribute__((vector_size(WIDTH)));
#define LANES (WIDTH / sizeof(double))

void copy(double *restrict target, const double *restrict source, size_t length)
{
    for (size_t at = 0; at < length; at++)
        target[at] = source[at];
}

/* What gcc makes of the loop above unless it is told not to. */
void copy_by_library(double *restrict target, const double *restrict source, size_t length)
{
    memcpy(target, source, length * sizeof(double));
}

void scale(double *restrict target, const double *restrict source, double factor, size_t length)
{
    for (size_t at = 0; at < length; at++)
        target[at] = factor * source[at];
}

void add(double *restrict target, const double *restrict left, const double *restrict right, size_t length)
{
    for (size_t at = 0; at < length; at++)
        target[at] = left[at] + right[at];
}

void triad(double *restrict target, const double *restrict left, const double *restrict right, double factor,
           size_t length)
{
    for (size_t at = 0; at < length; at++)
        target[at] = left[at] + factor * right[at];
}

/* As triad, past the caches; all arrays aligned to WIDTH, the length a multiple of the lanes. */
void triad_past_caches(double *restrict target, const double *restrict left, const double *restrict right,
                       double factor, size_t length)
{
    for (size_t at = 0; at < length; at += LANES)
        PAST(target + at, *(const vector *)(left + at) + factor * *(const vector *)(right + at));
#ifdef __SSE2__
    _mm_sfence();
#endif
}

/* The sum; with eight accumulators, so that no addition waits for the one before. Aligned to WIDTH. */
double read_all(const double *restrict array, size_t length, size_t rounds)
{
    vector sums[8] = {0};
    for (size_t round = 0; round < rounds; round++) {
        for (size_t at = 0; at < length; at += 8 * LANES)
            for (size_t part = 0; part < 8; part++)
                sums[part] += *(const vector *)(array + at + part * LANES);
        __asm__ volatile("" ::: "memory");
    }
    vector whole = ((sums[0] + sums[1]) + (sums[2] + sums[3])) + ((sums[4] + sums[5]) + (sums[6] + sums[7]));
    double total = 0;
    for (size_t lane = 0; lane < LANES; lane++)
        total += whole[lane];
    return total;
}
