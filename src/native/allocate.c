#include "native/allocate.h"

#include <stdlib.h>
#ifdef __linux__
#include <sys/mman.h>
#endif
#ifdef __GLIBC__
#include <malloc.h>
#endif

enum { FR_LARGE_BYTES = 1 << 22 };  /* two huge pages */

void *fr_allocate(size_t bytes, size_t alignment)
{
    void *memory = NULL;
    if (posix_memalign(&memory, alignment, bytes)) return NULL;
#ifdef MADV_HUGEPAGE
    if (bytes >= FR_LARGE_BYTES) madvise(memory, bytes, MADV_HUGEPAGE);
#endif
    return memory;
}

void fr_return_freed(void)
{
#ifdef __GLIBC__
    malloc_trim(0);
#endif
}
