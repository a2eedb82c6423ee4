/* Doubles, AVX-512F (Skylake-X 2017, Zen 4 2022, and later). */
#include "compiler.h"
#if FR_X86
#ifdef FR_EMULATE_AVX512   /* CONTRIBUTING.md, "AVX-512 without the processor" */
FR_TARGET_BEGIN("avx2,fma")
#include "vec/emulated_avx512.h"
#else
FR_TARGET_BEGIN("avx512f,avx2,fma")
#endif
#include "kernels.h"
#define FR_ISA_NAME "avx512"
#define FR_TABLE fr_table_avx512_f64
#include "vec/avx512_f64.h"
#include "tiles/avx512_f64.h"
#include "kernels.inc.h"
FR_TARGET_END
#endif
