/* Tile and block sizes of products, AVX-512F. README.md, "An instruction set in three steps", says what each one is. */

/* Register tiles (32 registers): 24 sums, and 27 of 9 x 3. The higher a tile, the less it reads of panels, which L1 is too
 * small for: 12 x 2 takes half as much of L2's bandwidth as 6 x 4 (CL-2, CL-7). */
#define FR_ROWS 12
#define FR_POINTER_ROWS 3     /* 12 pointers and those of two panels are too many (CL-8) */
#define FR_PREFETCH_LINES 8  /* for tiles of 7 rows and more (CL-24) */
static const int tile_rows[] = {0, 12, 12, 9, 6, 1, 1, 1, 1};  /* by the vectors of a strip */
FR_INLINE int strip_vectors(ptrdiff_t M, ptrdiff_t a_row)
{
    if (M == 1) return 8;
    if (M <= 6 || a_row % 1024 == 0) return 4;  /* rows 4 KiB apart share one set of L1, which holds 8 of them (CL-10) */
    return (M + 8) / 9 == (M + 11) / 12 ? 3 : 2;  /* the wider one where it takes no more tiles */
}

#define FR_TILES(T) \
    T(1, 0, 1) T(1, 0, 2) T(1, 0, 3) T(1, 0, 4) T(1, 0, 5) T(1, 0, 6) T(1, 0, 7) T(1, 0, 8) T(2, 0, 1) T(2, 0, 2) \
    T(2, 0, 3) T(2, 0, 4) T(3, 0, 1) T(3, 0, 2) T(3, 0, 3) T(3, 0, 4) T(4, 0, 1) T(4, 0, 2) T(4, 0, 3) T(4, 0, 4) \
    T(5, 0, 1) T(5, 0, 2) T(5, 0, 3) T(5, 0, 4) T(6, 0, 1) T(6, 0, 2) T(6, 0, 3) T(6, 0, 4) T(7, 0, 1) T(7, 0, 2) \
    T(7, 0, 3) T(8, 0, 1) T(8, 0, 2) T(8, 0, 3) T(9, 0, 1) T(9, 0, 2) T(9, 0, 3) T(10, 0, 1) T(10, 0, 2) T(11, 0, 1) \
    T(11, 0, 2) T(12, 0, 1) T(12, 0, 2)

enum {
    K_BLOCK = 1024,  /* a column group's panel of it, 64 KiB, stays in a near cache under all rows (CL-9) */
    M_BLOCK = 256   /* its rows of K_BLOCK, 1024 KiB, stay in L2 under all column groups (CL-11) */
};
