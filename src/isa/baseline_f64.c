/* Doubles, any CPU the compiler knows: the flags of the build, nothing more. */
#include "compiler.h"
#include "kernels.h"

#define FR_ISA_NAME "baseline"
#define FR_TABLE fr_table_baseline_f64
#include "vec/baseline_f64.h"
#include "tiles/baseline_f64.h"
#include "kernels.inc.h"
