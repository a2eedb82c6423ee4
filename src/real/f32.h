/* The elements are floats: the constants of their arithmetic. math.inc.h says what those of e^-x are. */
typedef float real;
typedef int32_t real_bits;

#define REAL_LOG logf

/* Lanes of two vectors of 16 bytes, taken by turns from the lower halves and from the upper ones. */
#define ZIP_LOW 0, 4, 1, 5
#define ZIP_HIGH 2, 6, 3, 7

#define EXP_LIMIT 88.0f         /* e^-x and e^x are normal up to here */
#define TANH_LIMIT 9.1f         /* tanh rounds to 1 from 9.02 on */
#define EXP_MAGIC 12583039.0f   /* 1.5 * 2^23 + 127 */
#define EXP_LOG2E 1.44269504f
#define EXP_LN2 0.693359375f    /* 9 bits, and */
#define EXP_LN2_REST -2.12194440e-4f

/* q of degree 4, relative error of r - r^2 q(r) 1.3e-8 */
static const real exp_q[] = {0x1.6bebfep-10f, -0x1.1227b0p-7f, 0x1.555674p-5f, -0x1.5554b0p-3f, 0x1.fffffep-2f};

/* The bits of an element behind its exponent, and those of sqrt(1/2): where v_log cuts an octave. */
#define REAL_DIGITS 23
#define SQRT_HALF_BITS 0x3f3504f3

/* p of degree 4, error of s^2 p(s^2) 8e-10 */
static const real atanh_p[] = {0x1.dba57ap-3f, 0x1.bc8c5ep-3f, 0x1.24c92cp-2f, 0x1.9998d4p-2f, 0x1.555556p-1f};
