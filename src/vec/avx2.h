/* Vector verbs, AVX2 with FMA: eight lanes. */
#ifndef FR_VEC_H
#define FR_VEC_H

#include "real/f32.h"

#define VL 8
typedef __m256 vec;

static const int32_t lane_masks[16] = {-1, -1, -1, -1, -1, -1, -1, -1, 0, 0, 0, 0, 0, 0, 0, 0};

FR_INLINE __m256i v_mask(ptrdiff_t n) { return _mm256_loadu_si256((const __m256i *)(lane_masks + 8 - n)); }
FR_INLINE vec v_set(real x) { return _mm256_set1_ps(x); }
FR_INLINE vec v_load(const real *p) { return _mm256_loadu_ps(p); }
FR_INLINE void v_store(real *p, vec v) { _mm256_storeu_ps(p, v); }
FR_INLINE vec v_load_n(const real *p, ptrdiff_t n) { return n == VL ? v_load(p) : _mm256_maskload_ps(p, v_mask(n)); }

/* Masked stores take some 20 cycles on AMD's cores (Z3-40): a constant n = VL must come out as a plain one. */
FR_INLINE void v_store_n(real *p, ptrdiff_t n, vec v)
{
    if (n == VL) v_store(p, v);
    else _mm256_maskstore_ps(p, v_mask(n), v);
}

FR_INLINE vec v_add(vec a, vec b) { return _mm256_add_ps(a, b); }
FR_INLINE vec v_sub(vec a, vec b) { return _mm256_sub_ps(a, b); }
FR_INLINE vec v_mul(vec a, vec b) { return _mm256_mul_ps(a, b); }
FR_INLINE vec v_div(vec a, vec b) { return _mm256_div_ps(a, b); }
FR_INLINE vec v_fma(vec a, vec b, vec c) { return _mm256_fmadd_ps(a, b, c); }

/* sum += a b, in sum's own register: left to itself the compiler moves the sums of 4 x 3 and of 6 x 2 about. */
FR_INLINE void v_fma_onto(vec *sum, vec a, vec b) { __asm__("vfmadd231ps %2, %1, %0" : "+x"(*sum) : "x"(a), "x"(b)); }

FR_INLINE void v_fma_from(vec *sum, const real *a, vec b) { v_fma_onto(sum, v_set(*a), b); }
FR_INLINE vec v_fnma(vec a, vec b, vec c) { return _mm256_fnmadd_ps(a, b, c); }
FR_INLINE vec v_min(vec limit, vec x) { return _mm256_min_ps(limit, x); }  /* NaN in x comes out */
FR_INLINE vec v_max(vec limit, vec x) { return _mm256_max_ps(limit, x); }
FR_INLINE vec v_abs(vec x) { return _mm256_andnot_ps(_mm256_set1_ps(-0.0f), x); }
FR_INLINE vec v_copysign(vec size, vec sign) { return _mm256_or_ps(size, _mm256_and_ps(_mm256_set1_ps(-0.0f), sign)); }
FR_INLINE vec v_select_less(vec a, vec b, vec yes, vec no) { return _mm256_blendv_ps(no, yes, _mm256_cmp_ps(a, b, _CMP_LT_OQ)); }

FR_INLINE vec v_exponent(vec biased)
{
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_castps_si256(biased), 23));
}

FR_INLINE real v_sum(vec v)
{
    __m128 s = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
    s = _mm_add_ps(s, _mm_movehl_ps(s, s));
    return _mm_cvtss_f32(_mm_add_ss(s, _mm_movehdup_ps(s)));
}

#endif
