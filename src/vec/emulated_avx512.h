/* The intrinsics of avx512.h by SIMDe, for tests on a processor that lacks them. */
#ifndef FR_EMULATED_AVX512_H
#define FR_EMULATED_AVX512_H

#include <simde/x86/avx512.h>

#define __m512 simde__m512
#define __m512i simde__m512i
#define __mmask16 simde__mmask16
#define _mm512_abs_ps simde_mm512_abs_ps
#define _mm512_add_ps simde_mm512_add_ps
#define _mm512_and_si512 simde_mm512_and_si512
#define _mm512_castps_si512 simde_mm512_castps_si512
#define _mm512_castsi512_ps simde_mm512_castsi512_ps
#define _mm512_cmp_ps_mask simde_mm512_cmp_ps_mask
#define _mm512_div_ps simde_mm512_div_ps
#define _mm512_fmadd_ps simde_mm512_fmadd_ps
#define _mm512_fnmadd_ps simde_mm512_fnmadd_ps
#define _mm512_loadu_ps simde_mm512_loadu_ps
#define _mm512_maskz_mov_ps simde_mm512_maskz_mov_ps
#define _mm512_max_ps simde_mm512_max_ps
#define _mm512_mask_blend_ps simde_mm512_mask_blend_ps
#define _mm512_min_ps simde_mm512_min_ps
#define _mm512_mul_ps simde_mm512_mul_ps
#define _mm512_or_si512 simde_mm512_or_si512
#define _mm512_set1_epi32 simde_mm512_set1_epi32
#define _mm512_set1_ps simde_mm512_set1_ps
#define _mm512_setzero_ps simde_mm512_setzero_ps
#define _mm512_slli_epi32 simde_mm512_slli_epi32
#define _mm512_storeu_ps simde_mm512_storeu_ps
#define _mm512_sub_ps simde_mm512_sub_ps

/* SIMDe's own ones, where it has them, touch the lanes that the mask leaves out: beyond an array's end, or another thread's. */
#undef _mm512_maskz_loadu_ps
#undef _mm512_mask_storeu_ps
#undef _mm512_reduce_add_ps
#define _mm512_maskz_loadu_ps emulated_maskz_loadu
#define _mm512_mask_storeu_ps emulated_mask_storeu
#define _mm512_reduce_add_ps emulated_reduce_add

FR_INLINE __m512 emulated_maskz_loadu(__mmask16 mask, const float *p)
{
    float lanes[16] = {0};
    for (int i = 0; i < 16; i++)
        if (mask >> i & 1) lanes[i] = p[i];
    return _mm512_loadu_ps(lanes);
}

FR_INLINE void emulated_mask_storeu(float *p, __mmask16 mask, __m512 v)
{
    float lanes[16];
    _mm512_storeu_ps(lanes, v);
    for (int i = 0; i < 16; i++)
        if (mask >> i & 1) p[i] = lanes[i];
}

FR_INLINE float emulated_reduce_add(__m512 v)  /* halves on halves, as the compilers do it */
{
    float lanes[16];
    _mm512_storeu_ps(lanes, v);
    for (int half = 8; half; half /= 2)
        for (int i = 0; i < half; i++) lanes[i] += lanes[i + half];
    return lanes[0];
}

#endif
