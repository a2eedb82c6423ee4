/* Any CPU the compiler knows. */
#include "../inline.h"

#define FR_ISA_NAME "baseline"
#define FR_LOOPS fr_loops_baseline
#include "../vec/vec_baseline.h"
#include "loops.inc.h"
