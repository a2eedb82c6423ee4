/* AVX2 with FMA. */
#include "../inline.h"
#if FR_X86
FR_TARGET_BEGIN("avx2,fma")
#define FR_ISA_NAME "avx2"
#define FR_LOOPS fr_loops_avx2
#include "../vec/vec_avx2.h"
#include "loops.inc.h"
FR_TARGET_END
#endif
