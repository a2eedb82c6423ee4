/* Tile and block sizes of products of doubles, AVX2 with FMA. README.md, "An instruction set in three steps", says what each
 * one is. */

/* The shapes of avx2.h: four vectors are a column group, three and two may begin inside one. */
#define FR_ROWS 6
#define FR_POINTER_ROWS 1
#define FR_PREFETCH_LINES 0
static const int tile_rows[] = {0, 0, 6, 4, 3, 0, 0, 0, 1};  /* by the vectors of a strip */
FR_INLINE int strip_vectors(ptrdiff_t M, ptrdiff_t a_row)
{
    (void)a_row;
    if (M == 1) return 8;
    if (M <= 3 || M % 3 == 0) return 4;
    return (M % 4 == 0 && M < 128) || M == 7 ? 3 : M <= 16 ? 2 : 4;
}
#define FR_TILES(T) \
    T(1, 0, 4) T(1, 0, 8) T(2, 0, 4) T(3, 0, 4) T(3, 0, 3) T(3, 1, 3) T(3, 2, 3) T(3, 3, 3) T(4, 0, 3) T(4, 1, 3) \
    T(4, 2, 3) T(4, 3, 3) T(3, 0, 2) T(3, 2, 2) T(4, 0, 2) T(4, 2, 2) T(5, 0, 2) T(5, 2, 2) T(6, 0, 2) T(6, 2, 2)

enum {
    K_BLOCK = 256,  /* a column group's panel of it, 32 KiB, stays in a near cache under all rows */
    M_BLOCK = 128   /* its rows of K_BLOCK, 256 KiB, stay in L2 under all column groups */
};
