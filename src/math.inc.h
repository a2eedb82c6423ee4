/* exp-based activations over the vector verbs. Bounds, swept by tests/test_activations.py on every ISA:
 * tanh <= 2 ulp, sigmoid <= 4 ulp relative wherever the result is normal; NaN in gives NaN out. */

/* e^x for x in [-88, 88]: 2^n (1 + p) with n = round(x / ln 2), |r| <= ln(2)/2 and p = expm1(r). */
FR_INLINE vec v_exp(vec x)
{
    const vec magic = v_set(12582912.0f);  /* 1.5 * 2^23: adding it rounds to an integer kept in the low bits */
    vec biased = v_fma(x, v_set(1.44269504f), magic);
    vec n = v_sub(biased, magic);
    /* ln 2 in two parts, the first with its last bits zero so that n times it is exact. */
    vec r = v_fnma(n, v_set(-2.12194440e-4f), v_fnma(n, v_set(0.693359375f), x));
    /* expm1(r) = r + r^2 q(r); q is the degree-4 minimax fit, of relative error 1.3e-8 on |r| <= ln(2)/2. */
    vec q = v_fma(v_set(0x1.6bebfep-10f), r, v_set(0x1.1227b0p-7f));
    q = v_fma(q, r, v_set(0x1.555674p-5f));
    q = v_fma(q, r, v_set(0x1.5554b0p-3f));
    q = v_fma(q, r, v_set(0x1.fffffep-2f));
    vec p = v_fma(v_mul(r, r), q, r), pow2 = v_pow2(biased);
    return v_fma(pow2, p, pow2);
}

/* 1 / (1 + e^-x). Clamped where e^-x would leave the normal range; beyond it the result is 1 or subnormal. */
FR_INLINE vec v_sigmoid(vec x)
{
    vec minus = v_min(v_set(88.0f), v_max(v_set(-88.0f), v_sub(v_set(0), x)));
    return v_div(v_set(1), v_add(v_set(1), v_exp(minus)));
}

/* tanh|x| = 1 - 2 / (e^2|x| + 1), which rounds to 1 from 9.02 on; below 0.625, where the subtraction would cancel,
 * |x| (1 + z q(z)) with z = x^2 and q the degree-4 minimax fit of relative error 4.5e-9. */
FR_INLINE vec v_tanh(vec x)
{
    vec size = v_min(v_set(9.1f), v_abs(x));
    vec large = v_sub(v_set(1), v_div(v_set(2), v_add(v_exp(v_add(size, size)), v_set(1))));
    vec z = v_mul(size, size);
    vec q = v_fma(v_set(-0x1.756238p-8f), z, v_set(0x1.520b2ap-6f));
    q = v_fma(q, z, v_set(-0x1.b83854p-5f));
    q = v_fma(q, z, v_set(0x1.11070ap-3f));
    q = v_fma(q, z, v_set(-0x1.555532p-2f));
    vec small = v_fma(v_mul(q, z), size, size);
    return v_copysign(v_select_less(size, v_set(0.625f), small, large), x);
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
