/* AVX-512F (Skylake-X 2017, Zen 4 2022, and later). */
#include "inline.h"
#if FR_X86
FR_TARGET_BEGIN("avx512f,avx2,fma")
#include "fr_kernels.h"
#define FR_ISA_NAME "avx512"
#define FR_TABLE fr_table_avx512
#include "vec/vec_avx512.h"
#include "kernels.inc.h"
FR_TARGET_END
#endif
