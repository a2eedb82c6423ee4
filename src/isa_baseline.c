/* Any CPU the compiler knows: the flags of the build, nothing more. */
#include "inline.h"
#include "fr_kernels.h"

#define FR_ISA_NAME "baseline"
#define FR_TABLE fr_table_baseline
#include "vec/vec_baseline.h"
#include "kernels.inc.h"
