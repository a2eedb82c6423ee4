/* Sizes of the processor's data caches. */
#ifndef FR_CACHES_H
#define FR_CACHES_H

#include <stddef.h>

/* Bytes of the data cache of level 1, 2 or 3 that one core sees; 0 for none and for other levels. Where the system does
 * not tell: 32 KiB, 1 MiB and 0. Read once; any thread may ask. */
ptrdiff_t fr_cache_bytes(int level);

#endif
