/* What surrounds the layers, one array at a time: dropout, sums of rows. */

/* A counter hashed with a key: the mask of element i depends on (key, i) alone, so backward makes it again instead of
 * keeping it, and threads may share the work any way they like. The mixer is the 64-bit finaliser of SplitMix64
 * (Steele, Lea and Flood 2014). */
FR_INLINE uint64_t mix(uint64_t z)
{
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

static void dropout(ptrdiff_t n, uint64_t key, uint64_t first, float p, const void *source, void *target)
{
    const real *from = source;
    real *to = target;
    const uint32_t limit = (uint32_t)(p * 16777216.0f);  /* of 2^24, exact for a float32 p */
    const real scale = 1 / (1 - (real)p);
    for (ptrdiff_t i = 0; i < n; i++) {
        uint32_t draw = (uint32_t)(mix(key + (first + (uint64_t)i) * 0x9e3779b97f4a7c15u) >> 40);
        to[i] = draw < limit ? 0 : from[i] * scale;
    }
}

static void add(ptrdiff_t n, const void *source, void *target)
{
    const real *from = source;
    real *to = target;
    for (; n >= VL; n -= VL, from += VL, to += VL) v_store(to, v_add(v_load(to), v_load(from)));
    if (n) v_store_n(to, n, v_add(v_load_n(to, n), v_load_n(from, n)));
}
