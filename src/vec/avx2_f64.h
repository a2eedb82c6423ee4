/* Vector verbs over doubles, AVX2 with FMA: four lanes. avx2.h says why some are as they are. */
#ifndef FR_VEC_H
#define FR_VEC_H

#include "real/f64.h"

#define VL 4
typedef __m256d vec;

static const int64_t lane_masks[8] = {-1, -1, -1, -1, 0, 0, 0, 0};

FR_INLINE __m256i v_mask(ptrdiff_t n) { return _mm256_loadu_si256((const __m256i *)(lane_masks + 4 - n)); }
FR_INLINE vec v_set(real x) { return _mm256_set1_pd(x); }
FR_INLINE vec v_load(const real *p) { return _mm256_loadu_pd(p); }
FR_INLINE void v_store(real *p, vec v) { _mm256_storeu_pd(p, v); }
FR_INLINE vec v_load_n(const real *p, ptrdiff_t n) { return n == VL ? v_load(p) : _mm256_maskload_pd(p, v_mask(n)); }

FR_INLINE void v_store_n(real *p, ptrdiff_t n, vec v)
{
    if (n == VL) v_store(p, v);
    else _mm256_maskstore_pd(p, v_mask(n), v);
}

FR_INLINE vec v_add(vec a, vec b) { return _mm256_add_pd(a, b); }
FR_INLINE vec v_sub(vec a, vec b) { return _mm256_sub_pd(a, b); }
FR_INLINE vec v_mul(vec a, vec b) { return _mm256_mul_pd(a, b); }
FR_INLINE vec v_div(vec a, vec b) { return _mm256_div_pd(a, b); }
FR_INLINE vec v_fma(vec a, vec b, vec c) { return _mm256_fmadd_pd(a, b, c); }
FR_INLINE void v_fma_onto(vec *sum, vec a, vec b) { __asm__("vfmadd231pd %2, %1, %0" : "+x"(*sum) : "x"(a), "x"(b)); }
FR_INLINE void v_fma_from(vec *sum, const real *a, vec b) { v_fma_onto(sum, v_set(*a), b); }
FR_INLINE vec v_fnma(vec a, vec b, vec c) { return _mm256_fnmadd_pd(a, b, c); }
FR_INLINE vec v_min(vec limit, vec x) { return _mm256_min_pd(limit, x); }  /* NaN in x comes out */
FR_INLINE vec v_max(vec limit, vec x) { return _mm256_max_pd(limit, x); }
FR_INLINE vec v_abs(vec x) { return _mm256_andnot_pd(_mm256_set1_pd(-0.0), x); }
FR_INLINE vec v_copysign(vec size, vec sign) { return _mm256_or_pd(size, _mm256_and_pd(_mm256_set1_pd(-0.0), sign)); }
FR_INLINE vec v_select_less(vec a, vec b, vec yes, vec no) { return _mm256_blendv_pd(no, yes, _mm256_cmp_pd(a, b, _CMP_LT_OQ)); }

FR_INLINE vec v_exponent(vec biased)
{
    return _mm256_castsi256_pd(_mm256_slli_epi64(_mm256_castpd_si256(biased), 52));
}

FR_INLINE real v_sum(vec v)
{
    __m128d s = _mm_add_pd(_mm256_castpd256_pd128(v), _mm256_extractf128_pd(v, 1));
    return _mm_cvtsd_f64(_mm_add_sd(s, _mm_unpackhi_pd(s, s)));
}

#endif
