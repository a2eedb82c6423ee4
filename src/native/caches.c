#include "native/caches.h"

#include <pthread.h>
#ifdef __APPLE__
#include <stdint.h>
#include <sys/sysctl.h>
#else
#include <stdio.h>
#include <unistd.h>
#endif

enum { FR_CACHE_LEVELS = 3 };

static ptrdiff_t fr_caches[FR_CACHE_LEVELS] = {32 << 10, 1 << 20, 0};

#ifdef __APPLE__

/* The performance cores' caches where there are two kinds. 0 if the system does not tell. */
static ptrdiff_t fr_read_cache(int level)
{
    static const char *const names[FR_CACHE_LEVELS][2] = {
        {"hw.perflevel0.l1dcachesize", "hw.l1dcachesize"},
        {"hw.perflevel0.l2cachesize", "hw.l2cachesize"},
        {"hw.perflevel0.l3cachesize", "hw.l3cachesize"},
    };
    for (int i = 0; i < 2; i++) {
        int64_t bytes = 0;
        size_t size = sizeof bytes;
        if (sysctlbyname(names[level - 1][i], &bytes, &size, NULL, 0) == 0 && bytes > 0) return (ptrdiff_t)bytes;
    }
    return 0;
}

#else

static ptrdiff_t fr_sysconf_cache(int level)
{
#if defined(_SC_LEVEL1_DCACHE_SIZE) && defined(_SC_LEVEL2_CACHE_SIZE) && defined(_SC_LEVEL3_CACHE_SIZE)
    static const int names[FR_CACHE_LEVELS] = {_SC_LEVEL1_DCACHE_SIZE, _SC_LEVEL2_CACHE_SIZE, _SC_LEVEL3_CACHE_SIZE};
    return (ptrdiff_t)sysconf(names[level - 1]);
#else
    (void)level;
    return 0;
#endif
}

static int fr_read_line(int index, const char *name, char *line, int size)
{
    char path[96];
    snprintf(path, sizeof path, "/sys/devices/system/cpu/cpu0/cache/index%d/%s", index, name);
    FILE *file = fopen(path, "re");
    int found = file && fgets(line, size, file);
    if (file) fclose(file);
    return found;
}

/* Linux's description of the first processor. Sizes there read "48K" or "2M". */
static ptrdiff_t fr_sysfs_cache(int level)
{
    char line[32];
    for (int index = 0; fr_read_line(index, "level", line, sizeof line); index++) {
        int found;
        long size;
        char unit = 0;
        if (sscanf(line, "%d", &found) != 1 || found != level) continue;
        if (!fr_read_line(index, "type", line, sizeof line) || line[0] == 'I') continue;  /* instructions */
        if (fr_read_line(index, "size", line, sizeof line) && sscanf(line, "%ld%c", &size, &unit) >= 1)
            return (ptrdiff_t)size << (unit == 'K' ? 10 : unit == 'M' ? 20 : 0);
    }
    return 0;
}

/* 0 if the system does not tell. Linux's description comes first: on a virtual machine with an AMD EPYC, sysconf took
 * the L3 of all cores, 320 MiB, for that of one, 32 MiB. */
static ptrdiff_t fr_read_cache(int level)
{
    ptrdiff_t bytes = fr_sysfs_cache(level);
    return bytes > 0 ? bytes : fr_sysconf_cache(level);
}

#endif

static void fr_read_caches(void)
{
    for (int level = 1; level <= FR_CACHE_LEVELS; level++) {
        ptrdiff_t bytes = fr_read_cache(level);
        if (bytes > 0) fr_caches[level - 1] = bytes;
    }
}

ptrdiff_t fr_cache_bytes(int level)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, fr_read_caches);
    return level >= 1 && level <= FR_CACHE_LEVELS ? fr_caches[level - 1] : 0;
}
