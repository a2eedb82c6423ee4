/* The elements are doubles: the constants of their arithmetic, in the order of f32.h. */
typedef double real;
typedef int64_t real_bits;

#define REAL_LOG log

#define ZIP_LOW 0, 2
#define ZIP_HIGH 1, 3

#define EXP_LIMIT 709.0         /* a sigmoid is subnormal from 708.4 on */
#define TANH_LIMIT 19.1         /* tanh rounds to 1 from 19.07 on */
#define EXP_MAGIC 6755399441056767.0    /* 1.5 * 2^52 + 1023 */
#define EXP_LOG2E 0x1.71547652b82fep+0
#define EXP_LN2 0x1.62e42fefa3800p-1    /* 42 bits, and */
#define EXP_LN2_REST 0x1.ef35793c76730p-45

/* q of degree 10, relative error of r - r^2 q(r) 9.4e-19 */
static const real exp_q[] = {
    0x1.1ee89d9a9b414p-29, -0x1.af5e689f3aabbp-26, 0x1.27e5361763786p-22, -0x1.71ddf88534a40p-19, 0x1.a01a017bd39c7p-16,
    -0x1.a01a01afd1954p-13, 0x1.6c16c16c1f041p-10, -0x1.111111110f6dfp-7, 0x1.555555555553fp-5, -0x1.5555555555559p-3, 0.5,
};

#define REAL_DIGITS 52
#define SQRT_HALF_BITS 0x3fe6a09e667f3bcd

/* p of degree 9, error of s^2 p(s^2) 1e-17 */
static const real atanh_p[] = {
    0x1.4b0ed4be611b2p-3, 0x1.687604d0c86a1p-4, 0x1.eb913ba3ef69ep-4, 0x1.10ac6a3d3e5f6p-3, 0x1.3b18b34a260a3p-3,
    0x1.745cf0aa6a011p-3, 0x1.c71c727164156p-3, 0x1.24924923d422cp-2, 0x1.999999999a3dfp-2, 0x1.5555555555555p-1,
};
