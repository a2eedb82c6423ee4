/* Which kernel tables can run here: the processor must have the instructions and the operating system must save
 * their registers; the compiler's builtin checks both. */
#include "compiler.h"
#include "kernels.h"

extern const fr_kernels fr_table_baseline;

static int has_baseline(void) { return 1; }

#if FR_X86
extern const fr_kernels fr_table_avx2, fr_table_avx512;

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

const fr_kernels *fr_available(int i)
{
    static const struct {
        const fr_kernels *table;
        int (*can_run)(void);
    } rows[] = {
        {&fr_table_baseline, has_baseline},
#if FR_X86
        {&fr_table_avx2, has_avx2},
        {&fr_table_avx512, has_avx512},
#endif
    };
    for (size_t row = 0; row < sizeof rows / sizeof *rows; row++)
        if (rows[row].can_run() && i-- == 0) return rows[row].table;
    return NULL;
}

const fr_kernels *fr_select(const char *limit)
{
    const fr_kernels *best = NULL;
    for (int i = 0; fr_available(i); i++) {
        const fr_kernels *table = fr_available(i);
        if (!limit) best = table;
        else if (strcmp(limit, table->name) == 0) return table;
    }
    return best;
}
