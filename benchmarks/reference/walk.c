#include <stdint.h>

enum { HEADER = 32, NODE = 800, LINE = 16 };

/* Built with the leave to add up in any order, which the loops held against it have as well. */
float walk(const float *nodes, const uint32_t *order, const float *query, uint64_t first, uint64_t count,
           uint64_t words, uint64_t distance, uint64_t lines)
{
    float total = 0;
    for (uint64_t visit = first; visit < first + count; visit++) {
        if (distance) {
            const float *ahead = nodes + (uint64_t)order[visit + distance] * NODE;
            __builtin_prefetch(ahead, 0, 3);
            for (uint64_t line = 0; line < lines; line++)
                __builtin_prefetch(ahead + HEADER + LINE * line, 0, 3);
        }
        const float *node = nodes + (uint64_t)order[visit] * NODE;
        const float *vector = node + HEADER;
        float similarity = 0;
        for (uint64_t word = 0; word < words; word++)
            similarity += vector[word] * query[word];
        total += similarity + node[0];
    }
    return total;
}
