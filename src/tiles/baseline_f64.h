/* Tile and block sizes of products of doubles, any CPU. README.md, "An instruction set in three steps", says what each one
 * is. */

/* Register tiles (16 registers): 3 rows x half a column group hold 12 sums, 3 broadcasts and a weight. */
#define FR_ROWS 3
#define FR_POINTER_ROWS 1
#define FR_PREFETCH_LINES 0
static const int tile_rows[] = {0, 0, 0, 0, 3, 0, 0, 0, 1};  /* by the vectors of a strip */
FR_INLINE int strip_vectors(ptrdiff_t M, ptrdiff_t a_row) { return (void)a_row, M == 1 ? 8 : 4; }
#define FR_TILES(T) T(1, 0, 8) T(2, 0, 4) T(2, 4, 4) T(3, 0, 4) T(3, 4, 4)

enum {
    K_BLOCK = 128,  /* a column group's panel of it, 16 KiB, stays in a near cache under all rows */
    M_BLOCK = 128   /* its rows of K_BLOCK, 128 KiB, stay in L2 under all column groups */
};
