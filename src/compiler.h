/* The compiler's own words, in one place: forced inlining, shuffles, regions of a target instruction set, checks. */
#ifndef FR_COMPILER_H
#define FR_COMPILER_H

#define FR_INLINE static inline __attribute__((always_inline))

/* The listed lanes of a and b, counted through both; `lanes` is the vector of integers of their size. */
#ifdef __clang__
#define FR_SHUFFLE(lanes, a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)
#else
#define FR_SHUFFLE(lanes, a, b, ...) __builtin_shuffle(a, b, (lanes){__VA_ARGS__})
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

/* Contracts are checked in test builds alone (FASTRNN_BOUNDS=1). */
#ifdef FR_CHECKED
#include <stdio.h>
#include <stdlib.h>
#define FR_CHECK(condition) \
    ((condition) ? (void)0 : (fprintf(stderr, "%s:%d: expected %s\n", __FILE__, __LINE__, #condition), abort()))
#define FR_UNREACHABLE() FR_CHECK(!"reached")
#else
#define FR_CHECK(condition) ((void)0)
#define FR_UNREACHABLE() __builtin_unreachable()
#endif

/* Whether two ranges share memory. */
FR_INLINE int fr_overlap(const void *a, const void *a_end, const void *b, const void *b_end)
{
    return (uintptr_t)a < (uintptr_t)b_end && (uintptr_t)b < (uintptr_t)a_end;
}

#ifdef __clang__
#define FR_TARGET_BEGIN(isa) \
    FR_PRAGMA(clang attribute push(__attribute__((target(isa))), apply_to = function))
#define FR_TARGET_END FR_PRAGMA(clang attribute pop)
#else
#define FR_TARGET_BEGIN(isa) FR_PRAGMA(GCC push_options) FR_PRAGMA(GCC target(isa))
#define FR_TARGET_END FR_PRAGMA(GCC pop_options)
#endif

#endif
