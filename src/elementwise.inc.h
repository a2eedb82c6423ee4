/* What surrounds the layers, one row or one array at a time: the loss, dropout, sums of rows. */

/* loss = log(sum(exp(z))) - z[target], dz = scale * (softmax(z) - onehot(target)), z shifted by its maximum first. */
static double cross_entropy(ptrdiff_t V, const void *row, ptrdiff_t target, double times, void *drow)
{
    const real *logits = row, scale = (real)times;
    real *dlogits = drow;
    FR_CHECK(V >= 1 && 0 <= target && target < V && fr_flushes());
    const vec most = v_set(EXP_LIMIT);  /* e^-most comes out as 0; beside the maximum's 1 it is nothing */
    real top = logits[0], tail[VL];
    vec highest = v_set(top), total = v_set(0);
    ptrdiff_t j = 0;
    for (; j + VL <= V; j += VL) highest = v_max(highest, v_load(logits + j));  /* a NaN lost here makes the sum NaN */
    v_store(tail, highest);
    for (int lane = 0; lane < VL; lane++) top = tail[lane] > top ? tail[lane] : top;
    for (; j < V; j++) top = logits[j] > top ? logits[j] : top;
    const vec shift = v_set(top);
    for (j = 0; j + VL <= V; j += VL) {
        vec e = v_exp_minus(v_min(most, v_sub(shift, v_load(logits + j))));
        v_store(dlogits + j, e);
        total = v_add(total, e);
    }
    real sum = v_sum(total);
    if (j < V) {
        v_store(tail, v_exp_minus(v_min(most, v_sub(shift, v_load_n(logits + j, V - j)))));
        for (ptrdiff_t lane = 0; j + lane < V; lane++) sum += dlogits[j + lane] = tail[lane];
    }
    real loss = REAL_LOG(sum) - (logits[target] - top);
    real factor = scale / sum;
    for (j = 0; j < V; j++) dlogits[j] *= factor;
    dlogits[target] -= scale;
    return loss;
}

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
