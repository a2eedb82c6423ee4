/* Vector verbs over doubles, AVX-512F: eight lanes. avx512.h says why some are as they are. */
#ifndef FR_VEC_H
#define FR_VEC_H

#include "real/f64.h"

#define VL 8
typedef __m512d vec;

FR_INLINE __mmask8 v_mask(ptrdiff_t n) { return (__mmask8)((1u << n) - 1u); }
FR_INLINE vec v_set(real x) { return _mm512_set1_pd(x); }
FR_INLINE vec v_load(const real *p) { return _mm512_loadu_pd(p); }
FR_INLINE void v_store(real *p, vec v) { _mm512_storeu_pd(p, v); }
FR_INLINE vec v_load_n(const real *p, ptrdiff_t n) { return _mm512_maskz_loadu_pd(v_mask(n), p); }
FR_INLINE void v_store_n(real *p, ptrdiff_t n, vec v) { _mm512_mask_storeu_pd(p, v_mask(n), v); }
FR_INLINE vec v_add(vec a, vec b) { return _mm512_add_pd(a, b); }
FR_INLINE vec v_sub(vec a, vec b) { return _mm512_sub_pd(a, b); }
FR_INLINE vec v_mul(vec a, vec b) { return _mm512_mul_pd(a, b); }
FR_INLINE vec v_div(vec a, vec b) { return _mm512_div_pd(a, b); }
FR_INLINE vec v_fma(vec a, vec b, vec c) { return _mm512_fmadd_pd(a, b, c); }

#ifdef FR_EMULATE_AVX512
FR_INLINE void v_fma_onto(vec *sum, vec a, vec b) { *sum = v_fma(a, b, *sum); }
FR_INLINE void v_fma_from(vec *sum, const real *a, vec b) { v_fma_onto(sum, v_set(*a), b); }
#else
FR_INLINE void v_fma_onto(vec *sum, vec a, vec b) { __asm__("vfmadd231pd %2, %1, %0" : "+v"(*sum) : "v"(a), "v"(b)); }
FR_INLINE void v_fma_from(vec *sum, const real *a, vec b)
{
    __asm__("vfmadd231pd %2%{1to8%}, %1, %0" : "+v"(*sum) : "v"(b), "m"(*a));
}
#endif

FR_INLINE vec v_fnma(vec a, vec b, vec c) { return _mm512_fnmadd_pd(a, b, c); }
FR_INLINE vec v_min(vec limit, vec x) { return _mm512_min_pd(limit, x); }  /* NaN in x comes out */
FR_INLINE vec v_max(vec limit, vec x) { return _mm512_max_pd(limit, x); }
FR_INLINE vec v_abs(vec x) { return _mm512_abs_pd(x); }

FR_INLINE vec v_copysign(vec size, vec sign)
{
    __m512i bit = _mm512_and_si512(_mm512_castpd_si512(sign), _mm512_set1_epi64(INT64_MIN));
    return _mm512_castsi512_pd(_mm512_or_si512(_mm512_castpd_si512(size), bit));
}

FR_INLINE vec v_select_less(vec a, vec b, vec yes, vec no) { return _mm512_mask_blend_pd(_mm512_cmp_pd_mask(a, b, _CMP_LT_OQ), no, yes); }

FR_INLINE vec v_exponent(vec biased)
{
    return _mm512_castsi512_pd(_mm512_slli_epi64(_mm512_castpd_si512(biased), 52));
}

FR_INLINE real v_sum(vec v) { return _mm512_reduce_add_pd(v); }

#endif
