/* Vector verbs over doubles, any CPU: two lanes in the compiler's own vector type. */
#ifndef FR_VEC_H
#define FR_VEC_H

#include "real/f64.h"

#define VL 2
typedef real vec __attribute__((vector_size(16)));
typedef int64_t ivec __attribute__((vector_size(16)));

FR_INLINE vec v_set(real x) { return (vec){x, x}; }
FR_INLINE vec v_load(const real *p) { vec v; memcpy(&v, p, sizeof v); return v; }
FR_INLINE void v_store(real *p, vec v) { memcpy(p, &v, sizeof v); }
FR_INLINE vec v_load_n(const real *p, ptrdiff_t n) { vec v = v_set(0); memcpy(&v, p, (size_t)n * sizeof *p); return v; }
FR_INLINE void v_store_n(real *p, ptrdiff_t n, vec v) { memcpy(p, &v, (size_t)n * sizeof *p); }
FR_INLINE vec v_add(vec a, vec b) { return a + b; }
FR_INLINE vec v_sub(vec a, vec b) { return a - b; }
FR_INLINE vec v_mul(vec a, vec b) { return a * b; }
FR_INLINE vec v_div(vec a, vec b) { return a / b; }
FR_INLINE vec v_fma(vec a, vec b, vec c) { return a * b + c; }
FR_INLINE void v_fma_onto(vec *sum, vec a, vec b) { *sum = v_fma(a, b, *sum); }
FR_INLINE void v_fma_from(vec *sum, const real *a, vec b) { v_fma_onto(sum, v_set(*a), b); }
FR_INLINE vec v_fnma(vec a, vec b, vec c) { return c - a * b; }
FR_INLINE vec v_select(ivec mask, vec yes, vec no) { return (vec)((mask & (ivec)yes) | (~mask & (ivec)no)); }
FR_INLINE vec v_min(vec limit, vec x) { return v_select(limit < x, limit, x); }  /* NaN in x comes out */
FR_INLINE vec v_max(vec limit, vec x) { return v_select(limit > x, limit, x); }
FR_INLINE vec v_abs(vec x) { return (vec)((ivec)x & INT64_MAX); }
FR_INLINE vec v_copysign(vec size, vec sign) { return (vec)((ivec)size | ((ivec)sign & INT64_MIN)); }
FR_INLINE vec v_select_less(vec a, vec b, vec yes, vec no) { return v_select(a < b, yes, no); }
FR_INLINE vec v_exponent(vec biased) { return (vec)((ivec)biased << 52); }
FR_INLINE real v_sum(vec v) { return v[0] + v[1]; }

#endif
