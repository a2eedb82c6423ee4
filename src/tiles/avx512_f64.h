/* Tile and block sizes of products of doubles, AVX-512F. README.md, "An instruction set in three steps", says what each one
 * is. */

/* The shapes of avx512.h: two vectors are a column group, three may begin inside one. */
#define FR_ROWS 12
#define FR_POINTER_ROWS 3
#define FR_PREFETCH_LINES 8
static const int tile_rows[] = {0, 0, 12, 9, 6, 0, 1, 0, 1};  /* by the vectors of a strip */
FR_INLINE int strip_vectors(ptrdiff_t M, ptrdiff_t a_row)
{
    if (M == 1) return 8;
    if (M <= 6 || a_row % 512 == 0) return 4;  /* rows 4 KiB apart */
    return (M + 8) / 9 == (M + 11) / 12 ? 3 : 2;
}

#define FR_TILES(T) \
    T(1, 0, 2) T(1, 0, 4) T(1, 0, 6) T(1, 0, 8) T(2, 0, 2) T(2, 0, 4) T(3, 0, 2) T(3, 0, 4) T(4, 0, 2) T(4, 0, 4) \
    T(5, 0, 2) T(5, 0, 4) T(6, 0, 2) T(6, 0, 3) T(6, 1, 3) T(6, 0, 4) T(7, 0, 2) T(7, 0, 3) T(7, 1, 3) T(8, 0, 2) \
    T(8, 0, 3) T(8, 1, 3) T(9, 0, 2) T(9, 0, 3) T(9, 1, 3) T(10, 0, 2) T(11, 0, 2) T(12, 0, 2)

enum {
    K_BLOCK = 512,  /* a column group's panel of it, 64 KiB, stays in a near cache under all rows */
    M_BLOCK = 256   /* its rows of K_BLOCK, 1024 KiB, stay in L2 under all column groups */
};
