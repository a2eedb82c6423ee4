/* Doubles, AVX2 with FMA (Haswell 2013, Zen 2017, and later). */
#include "compiler.h"
#if FR_X86
FR_TARGET_BEGIN("avx2,fma")
#include "kernels.h"
#define FR_ISA_NAME "avx2"
#define FR_TABLE fr_table_avx2_f64
#include "vec/avx2_f64.h"
#include "tiles/avx2_f64.h"
#include "kernels.inc.h"
FR_TARGET_END
#endif
