/* Activations by e^-x over the vector verbs. Bounds, swept by tests/test_activations.py on every ISA:
 * tanh <= 2 ulp, sigmoid <= 4 ulp relative wherever the result is normal; NaN in gives NaN out. */

/* e^-x = pow2 (1 - lost) for x in [-88, 88]: pow2 = 2^n, or 0 for n < -126, with n = round(-x / ln 2), r = x + n ln 2,
 * |r| <= ln(2)/2, lost = 1 - e^-r. The two parts are not joined here: 1 + e^-x and 1 - e^-x are one multiply-add away from
 * them and round once. */
FR_INLINE vec v_exp_parts(vec x, vec *pow2)
{
    const vec magic = v_set(12583039.0f);  /* 1.5 * 2^23 + 127: adding it rounds, to n's exponent in the low bits */
    vec biased = v_fnma(x, v_set(1.44269504f), magic);
    vec n = v_sub(biased, magic);
    /* ln 2 in two parts, the first with its last bits zero so that n times it is exact. */
    vec r = v_fma(n, v_set(-2.12194440e-4f), v_fma(n, v_set(0.693359375f), x));
    /* 1 - e^-r = r - r^2 q(r); q is the degree-4 minimax fit, of relative error 1.3e-8 on |r| <= ln(2)/2. */
    vec q = v_fma(v_set(0x1.6bebfep-10f), r, v_set(-0x1.1227b0p-7f));
    q = v_fma(q, r, v_set(0x1.555674p-5f));
    q = v_fma(q, r, v_set(-0x1.5554b0p-3f));
    q = v_fma(q, r, v_set(0x1.fffffep-2f));
    *pow2 = v_exponent(biased);
    return v_fnma(v_mul(r, r), q, r);
}

/* e^-x for x in [-88, 88] */
FR_INLINE vec v_exp_minus(vec x)
{
    vec pow2, lost = v_exp_parts(x, &pow2);
    return v_fnma(pow2, lost, pow2);
}

/* 1 / (1 + e^-x). Clamped where e^-x would leave the normal range; beyond it the result is 1 or subnormal. */
FR_INLINE vec v_sigmoid(vec x)
{
    vec pow2, lost = v_exp_parts(v_min(v_set(88.0f), v_max(v_set(-88.0f), x)), &pow2);
    return v_div(v_set(1), v_fnma(pow2, lost, v_add(pow2, v_set(1))));
}

/* tanh|x| = (1 - e^-2|x|) / (1 + e^-2|x|). 1 + pow2 and 1 - pow2 are exact until e^-2|x| is as small as a rounding error
 * of 1; from 8.5 on the result is 1, which the true one rounds to from 9.02 on. */
FR_INLINE vec v_tanh(vec x)
{
    vec size = v_min(v_set(9.1f), v_abs(x));
    vec pow2, lost = v_exp_parts(v_add(size, size), &pow2);
    vec above = v_fma(pow2, lost, v_sub(v_set(1), pow2)), below = v_fnma(pow2, lost, v_add(pow2, v_set(1)));
    return v_copysign(v_div(above, below), x);
}

static void tanh_array(ptrdiff_t n, const float *x, float *y)
{
    for (; n >= VL; n -= VL, x += VL, y += VL) v_store(y, v_tanh(v_load(x)));
    if (n) v_store_n(y, n, v_tanh(v_load_n(x, n)));
}

static void sigmoid_array(ptrdiff_t n, const float *x, float *y)
{
    for (; n >= VL; n -= VL, x += VL, y += VL) v_store(y, v_sigmoid(v_load(x)));
    if (n) v_store_n(y, n, v_sigmoid(v_load_n(x, n)));
}
