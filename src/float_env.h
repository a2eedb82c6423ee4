/* The floating-point environment of this thread. The only intrinsics outside vec/: they are for Cython, too. */
#ifndef FR_FLOAT_ENV_H
#define FR_FLOAT_ENV_H

#include <stdint.h>

/* Flush subnormals to zero in this thread until fr_flush_end puts the floating-point environment back: decaying states
 * and vanishing gradients would slow every operation a hundredfold. */
#ifdef __SSE__
#include <xmmintrin.h>

enum { FR_FLUSH_TO_ZERO = 0x8000, FR_DENORMALS_ARE_ZERO = 0x0040 };

static inline unsigned fr_flush_begin(void)
{
    unsigned before = _mm_getcsr();
    _mm_setcsr(before | FR_FLUSH_TO_ZERO | FR_DENORMALS_ARE_ZERO);
    return before;
}

static inline void fr_flush_end(unsigned before) { _mm_setcsr(before); }
static inline int fr_flushes(void) { return (_mm_getcsr() & FR_FLUSH_TO_ZERO) != 0; }
#elif defined(__aarch64__)
static inline void fr_flush_end(unsigned before)
{
    __asm__ volatile("msr fpcr, %0" : : "r"((uint64_t)before) : "memory");
}

static inline unsigned fr_flush_begin(void)
{
    uint64_t before;
    __asm__ volatile("mrs %0, fpcr" : "=r"(before) : : "memory");
    fr_flush_end((unsigned)before | 1u << 24);  /* FZ */
    return (unsigned)before;
}

static inline int fr_flushes(void) { return 1; }
#else
static inline unsigned fr_flush_begin(void) { return 0; }
static inline void fr_flush_end(unsigned before) { (void)before; }
static inline int fr_flushes(void) { return 1; }
#endif

#endif
