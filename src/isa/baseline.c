/* Any CPU the compiler knows: the flags of the build, nothing more. */
#include "compiler.h"
#include "kernels.h"

#define FR_ISA_NAME "baseline"
#define FR_TABLE fr_table_baseline
#include "vec/baseline.h"
#include "tiles/baseline.h"
#include "kernels.inc.h"
