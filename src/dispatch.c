/* Which kernel tables can run here: the processor must have the instructions and the operating system must save
 * their registers; the compiler's builtin checks both. */
#include "compiler.h"
#include "kernels.h"

extern const fr_kernels fr_table_baseline, fr_table_baseline_f64;

static int has_baseline(void) { return 1; }

#if FR_X86
extern const fr_kernels fr_table_avx2, fr_table_avx2_f64, fr_table_avx512, fr_table_avx512_f64;

static int has_avx2(void) { return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"); }

static int has_avx512(void)
{
#ifdef FR_EMULATE_AVX512
    return has_avx2();
#else
    return has_avx2() && __builtin_cpu_supports("avx512f");
#endif
}
#endif

typedef struct {
    const fr_kernels *floats, *doubles;
    int (*can_run)(void);
} isa;

/* The i-th that can run here, NULL past the last. */
static const isa *isa_available(int i)
{
    static const isa isas[] = {
        {&fr_table_baseline, &fr_table_baseline_f64, has_baseline},
#if FR_X86
        {&fr_table_avx2, &fr_table_avx2_f64, has_avx2},
        {&fr_table_avx512, &fr_table_avx512_f64, has_avx512},
#endif
    };
    for (size_t row = 0; row < sizeof isas / sizeof *isas; row++)
        if (isas[row].can_run() && i-- == 0) return &isas[row];
    return NULL;
}

const fr_kernels *fr_available(int i)
{
    const isa *one = isa_available(i);
    return one ? one->floats : NULL;
}

const fr_kernels *fr_select(const char *limit, int size)
{
    const isa *best = NULL, *one;
    for (int i = 0; (one = isa_available(i)); i++)
        if (!limit || strcmp(limit, one->floats->name) == 0) best = one;
    if (!best) return NULL;
    return size == sizeof(float) ? best->floats : best->doubles;
}

int fr_has_openmp(void)
{
#ifdef _OPENMP
    return 1;
#else
    return 0;
#endif
}
