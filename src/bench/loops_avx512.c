/* AVX-512F; emulated with AVX2 where the build asks for it. */
#include "../inline.h"
#if FR_X86
#ifdef FR_EMULATE_AVX512
FR_TARGET_BEGIN("avx2,fma")
#include "../vec/emulated_avx512.h"
#else
FR_TARGET_BEGIN("avx512f,avx2,fma")
#endif
#define FR_ISA_NAME "avx512"
#define FR_LOOPS fr_loops_avx512
#include "../vec/vec_avx512.h"
#include "loops.inc.h"
FR_TARGET_END
#endif
