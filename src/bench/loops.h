/* Loops that measure what the processor can do, once per ISA over the verbs of ../vec. fastrnn/_machine.pyx calls them. */
#ifndef FR_LOOPS_H
#define FR_LOOPS_H

#include <stddef.h>

typedef struct {
    const char *name;
    double flops;                              /* of one round of multiply_add */
    ptrdiff_t block;                           /* floats: read takes a multiple of them */
    float (*multiply_add)(ptrdiff_t rounds);
    float (*read)(ptrdiff_t rounds, ptrdiff_t n, const float *data);
} fr_loops;

extern const fr_loops fr_loops_baseline, fr_loops_avx2, fr_loops_avx512;

#endif
