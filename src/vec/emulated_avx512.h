/* The intrinsics of avx512.h and avx512_f64.h by SIMDe, for tests on a processor that lacks them. */
#ifndef FR_EMULATED_AVX512_H
#define FR_EMULATED_AVX512_H

#include <simde/x86/avx512.h>

#define __m512 simde__m512
#define __m512d simde__m512d
#define __m512i simde__m512i
#define __mmask16 simde__mmask16
#define __mmask8 simde__mmask8
#define _mm512_abs_pd simde_mm512_abs_pd
#define _mm512_abs_ps simde_mm512_abs_ps
#define _mm512_add_pd simde_mm512_add_pd
#define _mm512_add_ps simde_mm512_add_ps
#define _mm512_and_si512 simde_mm512_and_si512
#define _mm512_castpd_si512 simde_mm512_castpd_si512
#define _mm512_castps_si512 simde_mm512_castps_si512
#define _mm512_castsi512_pd simde_mm512_castsi512_pd
#define _mm512_castsi512_ps simde_mm512_castsi512_ps
#define _mm512_cmp_pd_mask simde_mm512_cmp_pd_mask
#define _mm512_cmp_ps_mask simde_mm512_cmp_ps_mask
#define _mm512_div_pd simde_mm512_div_pd
#define _mm512_div_ps simde_mm512_div_ps
#define _mm512_fmadd_pd simde_mm512_fmadd_pd
#define _mm512_fmadd_ps simde_mm512_fmadd_ps
#define _mm512_fnmadd_pd simde_mm512_fnmadd_pd
#define _mm512_fnmadd_ps simde_mm512_fnmadd_ps
#define _mm512_loadu_pd simde_mm512_loadu_pd
#define _mm512_loadu_ps simde_mm512_loadu_ps
#define _mm512_mask_blend_pd simde_mm512_mask_blend_pd
#define _mm512_mask_blend_ps simde_mm512_mask_blend_ps
#define _mm512_maskz_mov_pd simde_mm512_maskz_mov_pd
#define _mm512_maskz_mov_ps simde_mm512_maskz_mov_ps
#define _mm512_max_pd simde_mm512_max_pd
#define _mm512_max_ps simde_mm512_max_ps
#define _mm512_min_pd simde_mm512_min_pd
#define _mm512_min_ps simde_mm512_min_ps
#define _mm512_mul_pd simde_mm512_mul_pd
#define _mm512_mul_ps simde_mm512_mul_ps
#define _mm512_or_si512 simde_mm512_or_si512
#define _mm512_set1_epi32 simde_mm512_set1_epi32
#define _mm512_set1_epi64 simde_mm512_set1_epi64
#define _mm512_set1_pd simde_mm512_set1_pd
#define _mm512_set1_ps simde_mm512_set1_ps
#define _mm512_setzero_pd simde_mm512_setzero_pd
#define _mm512_setzero_ps simde_mm512_setzero_ps
#define _mm512_slli_epi32 simde_mm512_slli_epi32
#define _mm512_slli_epi64 simde_mm512_slli_epi64
#define _mm512_storeu_pd simde_mm512_storeu_pd
#define _mm512_storeu_ps simde_mm512_storeu_ps
#define _mm512_sub_pd simde_mm512_sub_pd
#define _mm512_sub_ps simde_mm512_sub_ps

/* SIMDe's own ones, where it has them, touch the lanes that the mask leaves out: beyond an array's end, or another thread's. */
#undef _mm512_maskz_loadu_ps
#undef _mm512_mask_storeu_ps
#undef _mm512_reduce_add_ps
#undef _mm512_maskz_loadu_pd
#undef _mm512_mask_storeu_pd
#undef _mm512_reduce_add_pd
#define _mm512_maskz_loadu_ps emulated_maskz_loadu_ps
#define _mm512_mask_storeu_ps emulated_mask_storeu_ps
#define _mm512_reduce_add_ps emulated_reduce_add_ps
#define _mm512_maskz_loadu_pd emulated_maskz_loadu_pd
#define _mm512_mask_storeu_pd emulated_mask_storeu_pd
#define _mm512_reduce_add_pd emulated_reduce_add_pd

/* Of each type its letter in the intrinsics' names, its vector and mask, and its lanes. Sums are halves on halves, as the
 * compilers do it. */
#define FR_EMULATED(letter, real, vector, mask_type, LANES) \
    FR_INLINE vector emulated_maskz_loadu_p##letter(mask_type mask, const real *p) \
    { \
        real lanes[LANES] = {0}; \
        for (int i = 0; i < LANES; i++) \
            if (mask >> i & 1) lanes[i] = p[i]; \
        return _mm512_loadu_p##letter(lanes); \
    } \
    FR_INLINE void emulated_mask_storeu_p##letter(real *p, mask_type mask, vector v) \
    { \
        real lanes[LANES]; \
        _mm512_storeu_p##letter(lanes, v); \
        for (int i = 0; i < LANES; i++) \
            if (mask >> i & 1) p[i] = lanes[i]; \
    } \
    FR_INLINE real emulated_reduce_add_p##letter(vector v) \
    { \
        real lanes[LANES]; \
        _mm512_storeu_p##letter(lanes, v); \
        for (int half = LANES / 2; half; half /= 2) \
            for (int i = 0; i < half; i++) lanes[i] += lanes[i + half]; \
        return lanes[0]; \
    }
FR_EMULATED(s, float, __m512, __mmask16, 16)
FR_EMULATED(d, double, __m512d, __mmask8, 8)

#endif
