/*
 * Twelve registers, each multiplied and added to again and again: as many as hide the latency of two multipliers, and
 * as fit beside their operands in the sixteen registers of AVX. What kernels/loops/peak.py is held against.
 */
#include <stddef.h>

typedef float v4 __attribute__((vector_size(16)));
typedef float v8 __attribute__((vector_size(32)));
typedef float v16 __attribute__((vector_size(64)));

#define CHAINS(name, vector, lanes)                                                                                    \
    float name(size_t steps, float factor, float addend)                                                               \
    {                                                                                                                  \
        vector x = factor - (vector){0}, y = addend - (vector){0};                                                     \
        vector z = {0}, a = z, b = z + 1, c = z + 2, d = z + 3, e = z + 4, f = z + 5;                                  \
        vector g = z + 6, h = z + 7, i = z + 8, j = z + 9, k = z + 10, l = z + 11; /* twelve equal ones become one */  \
        for (size_t step = 0; step < steps; step++) {                                                                  \
            a = a * x + y, b = b * x + y, c = c * x + y, d = d * x + y, e = e * x + y, f = f * x + y;                  \
            g = g * x + y, h = h * x + y, i = i * x + y, j = j * x + y, k = k * x + y, l = l * x + y;                  \
        }                                                                                                              \
        vector all = a + b + c + d + e + f + g + h + i + j + k + l;                                                    \
        float sum = 0;                                                                                                 \
        for (int lane = 0; lane < lanes; lane++)                                                                       \
            sum += all[lane];                                                                                          \
        return sum;                                                                                                    \
    }

CHAINS(peak_4, v4, 4)
#ifdef __AVX__
CHAINS(peak_8, v8, 8)
#endif
#ifdef __AVX512F__
CHAINS(peak_16, v16, 16)
#endif
