/* Activations by e^-x over the vector verbs. Bounds, swept by tests/test_activations.py on every ISA:
 * tanh <= 2 ulp (of doubles 2.5), sigmoid <= 4 ulp relative wherever the result is normal; NaN in gives NaN out.
 * Logarithms for the losses: tests/test_losses.py compares softplus and log through them. */

/* e^-x = pow2 (1 - lost) for |x| <= EXP_LIMIT: pow2 = 2^n, or 0 for n below the normal range, with n = round(-x / ln 2),
 * r = x + n ln 2, |r| <= ln(2)/2, lost = 1 - e^-r. The two parts are not joined here: 1 + e^-x and 1 - e^-x are one
 * multiply-add away from them and round once. */
FR_INLINE vec v_exp_parts(vec x, vec *pow2)
{
    const vec magic = v_set(EXP_MAGIC);  /* adding it rounds, to n's biased exponent in the low bits */
    vec biased = v_fnma(x, v_set(EXP_LOG2E), magic);
    vec n = v_sub(biased, magic);
    /* ln 2 in two parts, the first with its last bits zero so that n times it is exact. */
    vec r = v_fma(n, v_set(EXP_LN2_REST), v_fma(n, v_set(EXP_LN2), x));
    /* 1 - e^-r = r - r^2 q(r); q is the minimax fit on |r| <= ln(2)/2, its highest power first. */
    vec q = v_set(exp_q[0]);
#pragma GCC unroll 16
    for (size_t i = 1; i < sizeof exp_q / sizeof *exp_q; i++) q = v_fma(q, r, v_set(exp_q[i]));
    *pow2 = v_exponent(biased);
    return v_fnma(v_mul(r, r), q, r);
}

/* e^-x for |x| <= EXP_LIMIT */
FR_INLINE vec v_exp_minus(vec x)
{
    vec pow2, lost = v_exp_parts(x, &pow2);
    return v_fnma(pow2, lost, pow2);
}

/* 1 / (1 + e^-x). Clamped where e^-x would leave the normal range; beyond it the result is 1 or subnormal. */
FR_INLINE vec v_sigmoid(vec x)
{
    vec pow2, lost = v_exp_parts(v_min(v_set(EXP_LIMIT), v_max(v_set(-EXP_LIMIT), x)), &pow2);
    return v_div(v_set(1), v_fnma(pow2, lost, v_add(pow2, v_set(1))));
}

/* tanh|x| = (1 - e^-2|x|) / (1 + e^-2|x|). 1 + pow2 and 1 - pow2 are exact until e^-2|x| is as small as a rounding error
 * of 1, from where on the result is 1. */
FR_INLINE vec v_tanh(vec x)
{
    vec size = v_min(v_set(TANH_LIMIT), v_abs(x));
    vec pow2, lost = v_exp_parts(v_add(size, size), &pow2);
    vec above = v_fma(pow2, lost, v_sub(v_set(1), pow2)), below = v_fnma(pow2, lost, v_add(pow2, v_set(1)));
    return v_copysign(v_div(above, below), x);
}

/* log((1 + s) / (1 - s)) = 2 atanh(s) = 2 s + s^3 p(s^2), |s| <= 1/3; p is the minimax fit, its highest power first. */
FR_INLINE vec v_twice_atanh(vec s)
{
    vec square = v_mul(s, s), p = v_set(atanh_p[0]);
#pragma GCC unroll 16
    for (size_t i = 1; i < sizeof atanh_p / sizeof *atanh_p; i++) p = v_fma(p, square, v_set(atanh_p[i]));
    return v_fma(v_mul(s, square), p, v_add(s, s));
}

/* log(1 + e^x); 0 where e^x would leave the normal range. With e = e^-|x|, log(1 + e) = 2 atanh(e / (2 + e)). */
FR_INLINE vec v_softplus(vec x)
{
    vec e = v_exp_minus(v_min(v_set(EXP_LIMIT), v_abs(x)));
    return v_add(v_max(v_set(0), x), v_twice_atanh(v_div(e, v_add(v_set(2), e))));
}

/* log x for normal x > 0, NaN for NaN and infinity: x = 2^n m with m in sqrt(1/2)..sqrt(2), log m by atanh. */
FR_INLINE vec v_log(vec x)
{
    real lanes[VL], exponents[VL];
    v_store(lanes, x);
    for (int lane = 0; lane < VL; lane++) {
        real_bits bits, n;
        memcpy(&bits, lanes + lane, sizeof bits);
        n = (bits - SQRT_HALF_BITS) >> REAL_DIGITS;
        bits -= n * ((real_bits)1 << REAL_DIGITS);
        memcpy(lanes + lane, &bits, sizeof bits);
        exponents[lane] = (real)n;
    }
    vec m = v_load(lanes), n = v_load(exponents), one = v_set(1);
    vec log_m = v_twice_atanh(v_div(v_sub(m, one), v_add(m, one)));
    vec sum = v_fma(n, v_set(EXP_LN2), v_fma(n, v_set(EXP_LN2_REST), log_m));
    return v_add(sum, v_sub(x, x));
}

static void tanh_array(ptrdiff_t n, const void *x, void *y)
{
    const real *from = x;
    real *to = y;
    for (; n >= VL; n -= VL, from += VL, to += VL) v_store(to, v_tanh(v_load(from)));
    if (n) v_store_n(to, n, v_tanh(v_load_n(from, n)));
}

static void sigmoid_array(ptrdiff_t n, const void *x, void *y)
{
    const real *from = x;
    real *to = y;
    for (; n >= VL; n -= VL, from += VL, to += VL) v_store(to, v_sigmoid(v_load(from)));
    if (n) v_store_n(to, n, v_sigmoid(v_load_n(from, n)));
}
