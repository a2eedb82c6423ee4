/* Vector verbs, AVX-512F: sixteen lanes, one column group a vector. */
#ifndef FR_VEC_H
#define FR_VEC_H

#include "real/f32.h"

#define VL 16
typedef __m512 vec;

FR_INLINE __mmask16 v_mask(ptrdiff_t n) { return (__mmask16)((1u << n) - 1u); }
FR_INLINE vec v_set(real x) { return _mm512_set1_ps(x); }
FR_INLINE vec v_load(const real *p) { return _mm512_loadu_ps(p); }
FR_INLINE void v_store(real *p, vec v) { _mm512_storeu_ps(p, v); }
FR_INLINE vec v_load_n(const real *p, ptrdiff_t n) { return _mm512_maskz_loadu_ps(v_mask(n), p); }
FR_INLINE void v_store_n(real *p, ptrdiff_t n, vec v) { _mm512_mask_storeu_ps(p, v_mask(n), v); }
FR_INLINE vec v_add(vec a, vec b) { return _mm512_add_ps(a, b); }
FR_INLINE vec v_sub(vec a, vec b) { return _mm512_sub_ps(a, b); }
FR_INLINE vec v_mul(vec a, vec b) { return _mm512_mul_ps(a, b); }
FR_INLINE vec v_div(vec a, vec b) { return _mm512_div_ps(a, b); }
FR_INLINE vec v_fma(vec a, vec b, vec c) { return _mm512_fmadd_ps(a, b, c); }

#ifdef FR_EMULATE_AVX512
FR_INLINE void v_fma_onto(vec *sum, vec a, vec b) { *sum = v_fma(a, b, *sum); }
FR_INLINE void v_fma_from(vec *sum, const real *a, vec b) { v_fma_onto(sum, v_set(*a), b); }
#else  /* left to itself the compiler moves sums about, and broadcasts to a register wherever a number is used twice */
FR_INLINE void v_fma_onto(vec *sum, vec a, vec b) { __asm__("vfmadd231ps %2, %1, %0" : "+v"(*sum) : "v"(a), "v"(b)); }
FR_INLINE void v_fma_from(vec *sum, const real *a, vec b)
{
    __asm__("vfmadd231ps %2%{1to16%}, %1, %0" : "+v"(*sum) : "v"(b), "m"(*a));
}
#endif

FR_INLINE vec v_fnma(vec a, vec b, vec c) { return _mm512_fnmadd_ps(a, b, c); }
FR_INLINE vec v_min(vec limit, vec x) { return _mm512_min_ps(limit, x); }  /* NaN in x comes out */
FR_INLINE vec v_max(vec limit, vec x) { return _mm512_max_ps(limit, x); }
FR_INLINE vec v_abs(vec x) { return _mm512_abs_ps(x); }

FR_INLINE vec v_copysign(vec size, vec sign)
{
    __m512i bit = _mm512_and_si512(_mm512_castps_si512(sign), _mm512_set1_epi32((int)0x80000000));
    return _mm512_castsi512_ps(_mm512_or_si512(_mm512_castps_si512(size), bit));
}

FR_INLINE vec v_select_less(vec a, vec b, vec yes, vec no) { return _mm512_mask_blend_ps(_mm512_cmp_ps_mask(a, b, _CMP_LT_OQ), no, yes); }

FR_INLINE vec v_exponent(vec biased)
{
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_castps_si512(biased), 23));
}

FR_INLINE real v_sum(vec v) { return _mm512_reduce_add_ps(v); }

#endif
