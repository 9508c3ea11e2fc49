#include <stdint.h>

/* Follow `hops` links from slot `at`; each slot holds the place of the next. */
uint64_t chase(const uint64_t *slots, uint64_t at, uint64_t hops)
{
    for (uint64_t hop = 0; hop < hops; hop++)
        at = slots[at];
    return at;
}
