/* Memory of large arrays. */
#ifndef FR_ALLOCATE_H
#define FR_ALLOCATE_H

#include <stddef.h>

/* Uninitialised memory, for free(); NULL if there is none. Large blocks ask for huge pages. */
void *fr_allocate(size_t bytes, size_t alignment);

/* Returns to the system what free() has kept for later. */
void fr_return_freed(void);

#endif
