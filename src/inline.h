/* The compiler's own words, in one place: forced inlining, shuffles and regions of a target instruction set. */
#ifndef FR_INLINE_H
#define FR_INLINE_H

#define FR_INLINE static inline __attribute__((always_inline))

/* Four lanes of a and b, counted through both. */
#ifdef __clang__
#define FR_SHUFFLE(a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)
#else
#define FR_SHUFFLE(a, b, ...) __builtin_shuffle(a, b, (int32_t __attribute__((vector_size(16)))){__VA_ARGS__})
#endif

#if defined(__x86_64__) || defined(__i386__)
#define FR_X86 1
#else
#define FR_X86 0
#endif

/* Function targets keep one flag set for all sources; the headers of the intrinsics must come before the region. */
#define FR_PRAGMA(text) _Pragma(#text)
#if FR_X86
#include <immintrin.h>
#endif
#include <stddef.h>
#include <stdint.h>
#include <math.h>
#include <string.h>

#ifdef __clang__
#define FR_TARGET_BEGIN(isa) \
    FR_PRAGMA(clang attribute push(__attribute__((target(isa))), apply_to = function))
#define FR_TARGET_END FR_PRAGMA(clang attribute pop)
#else
#define FR_TARGET_BEGIN(isa) FR_PRAGMA(GCC push_options) FR_PRAGMA(GCC target(isa))
#define FR_TARGET_END FR_PRAGMA(GCC pop_options)
#endif

#endif
