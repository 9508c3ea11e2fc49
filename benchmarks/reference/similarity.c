/*
 * Similarities of 768-dimensional vectors in C: the same loops as kernels/loops/similarity.py, in gcc's vector types.
 *
 * tiles: groups of 8 rows, as 96 tiles of 8 rows of 8 lanes of float. scores: one row for each query.
 * Groups are visited in a circle from `first`, so that a set larger than the caches is never met at its warm start.
 */
#include <stddef.h>

#ifdef __AVX512F__
#include <immintrin.h>
#endif

enum { DIMENSIONS = 768, TILES = 96, ROWS = 8, LANES = 8, TILE = ROWS * LANES, GROUP = TILES * TILE };

typedef float v4 __attribute__((vector_size(16)));
typedef float v8 __attribute__((vector_size(32)));
typedef float v16 __attribute__((vector_size(64)));

#define PAIRS8(x, y)                                                                                                   \
    (__builtin_shufflevector(x, y, 0, 2, 8, 10, 4, 6, 12, 14) +                                                        \
     __builtin_shufflevector(x, y, 1, 3, 9, 11, 5, 7, 13, 15))
#define PAIRS16(x, y)                                                                                                  \
    (__builtin_shufflevector(x, y, 0, 2, 16, 18, 4, 6, 20, 22, 8, 10, 24, 26, 12, 14, 28, 30) +                        \
     __builtin_shufflevector(x, y, 1, 3, 17, 19, 5, 7, 21, 23, 9, 11, 25, 27, 13, 15, 29, 31))

static inline v8 sums_of_8(const v8 *a)
{
    v8 low = PAIRS8(PAIRS8(a[0], a[1]), PAIRS8(a[2], a[3]));
    v8 high = PAIRS8(PAIRS8(a[4], a[5]), PAIRS8(a[6], a[7]));
    return __builtin_shufflevector(low, high, 0, 1, 2, 3, 8, 9, 10, 11) +
           __builtin_shufflevector(low, high, 4, 5, 6, 7, 12, 13, 14, 15);
}

static inline v4 sums_of_4(const v8 *a)
{
    v8 both = PAIRS8(PAIRS8(a[0], a[1]), PAIRS8(a[2], a[3]));
    return __builtin_shufflevector(both, both, 0, 1, 2, 3) + __builtin_shufflevector(both, both, 4, 5, 6, 7);
}

/* One query at a time: 8 accumulators, one for each row. */
static inline void one_8(const float *group, const float *query, float *scores)
{
    v8 a[ROWS] = {0};
    for (size_t tile = 0; tile < TILES; tile++) {
        v8 x = *(const v8 *)(query + tile * LANES);
        const v8 *rows = (const v8 *)(group + tile * TILE);
        for (int row = 0; row < ROWS; row++)
            a[row] += x * rows[row];
    }
    *(v8 *)scores = sums_of_8(a);
}

/* Two queries and half of the rows: a load less for each of them, in sixteen registers. */
static inline void two_8(const float *group, const float *query, float *scores, size_t width)
{
    for (int half = 0; half < 2; half++) {
        v8 a[4] = {0}, b[4] = {0};
        for (size_t tile = 0; tile < TILES; tile++) {
            v8 x = *(const v8 *)(query + tile * LANES);
            v8 y = *(const v8 *)(query + DIMENSIONS + tile * LANES);
            const v8 *rows = (const v8 *)(group + tile * TILE) + 4 * half;
            for (int row = 0; row < 4; row++) {
                a[row] += x * rows[row];
                b[row] += y * rows[row];
            }
        }
        *(v4 *)(scores + 4 * half) = sums_of_4(a);
        *(v4 *)(scores + width + 4 * half) = sums_of_4(b);
    }
}

void tiles_8(const float *tiles, const float *queries, float *scores, size_t groups, size_t batch, size_t first,
             size_t visits)
{
    size_t group = first, width = groups * ROWS;
    for (size_t visit = 0; visit < visits; visit++) {
        size_t query = 0;
        for (; query + 2 <= batch; query += 2)
            two_8(tiles + group * GROUP, queries + query * DIMENSIONS, scores + query * width + group * ROWS, width);
        for (; query < batch; query++)
            one_8(tiles + group * GROUP, queries + query * DIMENSIONS, scores + query * width + group * ROWS);
        group = group + 1 == groups ? 0 : group + 1;
    }
}

#ifdef __AVX512F__
/* Two rows of a tile are one register of 16 lanes; the query's 8 lanes are loaded into both halves. */
static inline v16 twice(const float *at)
{
#ifdef __AVX512DQ__
    return (v16)_mm512_broadcast_f32x8(_mm256_load_ps(at)); /* a shuffle would take the port of an FMA */
#else
    v8 x = *(const v8 *)at;
    return __builtin_shufflevector(x, x, 0, 1, 2, 3, 4, 5, 6, 7, 0, 1, 2, 3, 4, 5, 6, 7);
#endif
}

static inline v8 sums_of_16(const v16 *a)
{
    v16 all = PAIRS16(PAIRS16(a[0], a[1]), PAIRS16(a[2], a[3]));
    return __builtin_shufflevector(all, all, 0, 8, 1, 9, 2, 10, 3, 11) +
           __builtin_shufflevector(all, all, 4, 12, 5, 13, 6, 14, 7, 15);
}

static inline void one_16(const float *group, const float *query, float *scores)
{
    v16 a[4] = {0}, b[4] = {0};
    for (size_t tile = 0; tile < TILES; tile += 2) {
        v16 x = twice(query + tile * LANES);
        v16 y = twice(query + (tile + 1) * LANES);
        const v16 *rows = (const v16 *)(group + tile * TILE);
        for (int row = 0; row < 4; row++) {
            a[row] += x * rows[row];
            b[row] += y * rows[4 + row];
        }
    }
    for (int row = 0; row < 4; row++)
        a[row] += b[row];
    *(v8 *)scores = sums_of_16(a);
}

static inline void two_16(const float *group, const float *query, float *scores, size_t width)
{
    v16 a[4] = {0}, b[4] = {0};
    for (size_t tile = 0; tile < TILES; tile++) {
        v16 x = twice(query + tile * LANES);
        v16 y = twice(query + DIMENSIONS + tile * LANES);
        const v16 *rows = (const v16 *)(group + tile * TILE);
        for (int row = 0; row < 4; row++) {
            a[row] += x * rows[row];
            b[row] += y * rows[row];
        }
    }
    *(v8 *)scores = sums_of_16(a);
    *(v8 *)(scores + width) = sums_of_16(b);
}

static inline void four_16(const float *group, const float *query, float *scores, size_t width)
{
    v16 a[4] = {0}, b[4] = {0}, c[4] = {0}, d[4] = {0};
    for (size_t tile = 0; tile < TILES; tile++) {
        v16 x = twice(query + tile * LANES);
        v16 y = twice(query + DIMENSIONS + tile * LANES);
        v16 z = twice(query + 2 * DIMENSIONS + tile * LANES);
        v16 w = twice(query + 3 * DIMENSIONS + tile * LANES);
        const v16 *rows = (const v16 *)(group + tile * TILE);
        for (int row = 0; row < 4; row++) {
            a[row] += x * rows[row];
            b[row] += y * rows[row];
            c[row] += z * rows[row];
            d[row] += w * rows[row];
        }
    }
    *(v8 *)scores = sums_of_16(a);
    *(v8 *)(scores + width) = sums_of_16(b);
    *(v8 *)(scores + 2 * width) = sums_of_16(c);
    *(v8 *)(scores + 3 * width) = sums_of_16(d);
}

void tiles_16(const float *tiles, const float *queries, float *scores, size_t groups, size_t batch, size_t first,
              size_t visits)
{
    size_t group = first, width = groups * ROWS;
    for (size_t visit = 0; visit < visits; visit++) {
        size_t query = 0;
        for (; query + 4 <= batch; query += 4)
            four_16(tiles + group * GROUP, queries + query * DIMENSIONS, scores + query * width + group * ROWS, width);
        for (; query + 2 <= batch; query += 2)
            two_16(tiles + group * GROUP, queries + query * DIMENSIONS, scores + query * width + group * ROWS, width);
        for (; query < batch; query++)
            one_16(tiles + group * GROUP, queries + query * DIMENSIONS, scores + query * width + group * ROWS);
        group = group + 1 == groups ? 0 : group + 1;
    }
}
#endif

/* Rows as they are: the compiler makes vectors of the inner loop, which needs -ffast-math. */
void rows(const float *rows, const float *queries, float *scores, size_t groups, size_t batch, size_t first,
          size_t visits)
{
    size_t group = first, width = groups * ROWS;
    for (size_t visit = 0; visit < visits; visit++) {
        for (size_t row = group * ROWS; row < (group + 1) * ROWS; row++)
            for (size_t query = 0; query < batch; query++) {
                float sum = 0;
                for (size_t i = 0; i < DIMENSIONS; i++)
                    sum += rows[row * DIMENSIONS + i] * queries[query * DIMENSIONS + i];
                scores[query * width + row] = sum;
            }
        group = group + 1 == groups ? 0 : group + 1;
    }
}

/* A function of another library for one pair of vectors, called for each: what it costs without Python. */
typedef void (*dot_function)(const void *, const void *, size_t, double *);

void others(dot_function dot, const float *rows, const float *queries, float *scores, size_t groups, size_t batch,
            size_t first, size_t visits)
{
    size_t group = first, width = groups * ROWS;
    for (size_t visit = 0; visit < visits; visit++) {
        for (size_t row = group * ROWS; row < (group + 1) * ROWS; row++)
            for (size_t query = 0; query < batch; query++) {
                double sum;
                dot(rows + row * DIMENSIONS, queries + query * DIMENSIONS, DIMENSIONS, &sum);
                scores[query * width + row] = (float)sum;
            }
        group = group + 1 == groups ? 0 : group + 1;
    }
}
