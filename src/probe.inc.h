/* Loops that measure what the processor can do. Whoever calls them takes the time (fastrnn/bench/machine.py). */

enum {
    CHAINS = 12,  /* multiply-adds in flight: latency 4 times 2 a cycle needs 8; where they are two operations, 12 */
    READ_SUMS = 8      /* independent sums of what is read: latency 4 times 2 loads a cycle */
};

/* The result is a fixed point of every chain, so that the numbers stay ordinary. */
static double probe_multiply_add(ptrdiff_t rounds)
{
    vec chain[CHAINS], factor = v_set(0.5f), term = v_set(1);
#pragma GCC unroll 12
    for (int i = 0; i < CHAINS; i++) chain[i] = v_set((real)i);
    for (; rounds > 0; rounds--)
#pragma GCC unroll 12
        for (int i = 0; i < CHAINS; i++) chain[i] = v_fma(chain[i], factor, term);
    vec total = v_set(0);
#pragma GCC unroll 12
    for (int i = 0; i < CHAINS; i++) total = v_add(total, chain[i]);
    return v_sum(total);
}

static double probe_read(ptrdiff_t rounds, ptrdiff_t n, const void *data)
{
    const real *first = data;
    vec sum[READ_SUMS];
#pragma GCC unroll 8
    for (int i = 0; i < READ_SUMS; i++) sum[i] = v_set(0);
    for (; rounds > 0; rounds--)
        for (const real *p = first; p < first + n; p += READ_SUMS * VL)
#pragma GCC unroll 8
            for (int i = 0; i < READ_SUMS; i++) sum[i] = v_add(sum[i], v_load(p + i * VL));
    vec total = v_set(0);
#pragma GCC unroll 8
    for (int i = 0; i < READ_SUMS; i++) total = v_add(total, sum[i]);
    return v_sum(total);
}
