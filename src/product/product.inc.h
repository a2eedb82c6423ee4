/* Any product of packed weights: cut into blocks that stay in a cache, and those into tiles.
 *
 *     C (M, N) = init + A (M, K) @ W (K, N)
 *
 * W lies in panels of one column group: panel[n / 16][k][n % 16], so a tile reads it in one line. Storing and loading a
 * partial sum is exact: blocks of K, the height of a tile and who computes it change no bit of the result. */

enum { L1_BYTES = 24576 };  /* the panels of a strip that are still in L1 when the next tile wants them (CL-29) */

/* A last column group that is not whole: through a full tile of our own, so that nothing beside C is touched. */
static void edge_tile(int rows, ptrdiff_t m, ptrdiff_t n, const product *p)
{
    real whole[FR_ROWS * FR_GROUP] = {0}, *c = p->c + m * p->c_row + n * p->c_group;
    product one = *p;
    one.a += m * p->a_row, one.w += n * p->w_group;
    one.init = one.c = whole, one.init_row = one.c_row = FR_GROUP;
    if (p->init)
        for (int i = 0; i < rows; i++)
            memcpy(whole + i * FR_GROUP, p->init + (m + i) * p->init_row + n * p->c_group, (size_t)p->edge * sizeof *c);
    any_tile(rows, GROUP_VECTORS, 0, 0, &one, (prefetch){NULL, 0, 0});
    for (int i = 0; i < rows; i++) memcpy(c + i * p->c_row, whole + i * FR_GROUP, (size_t)p->edge * sizeof *c);
}

/* n / d, in 32 bits where that will do: a division of 64 takes processors before 2019 forty cycles more. */
FR_INLINE ptrdiff_t quotient(ptrdiff_t n, ptrdiff_t d) { return n >> 32 ? n / d : (uint32_t)n / (uint32_t)d; }

/* How many pieces of at most `most` make n, and where piece i of them ends, counted from 1: a product of one row has no
 * time for divisions by 1. */
FR_INLINE ptrdiff_t pieces(ptrdiff_t n, ptrdiff_t most) { return n <= most ? 1 : quotient(n + most - 1, most); }

FR_INLINE ptrdiff_t piece_end(ptrdiff_t n, ptrdiff_t i, ptrdiff_t count)
{
    return i == count ? n : quotient(n * i, count);
}

/* How many vectors the next strip of columns takes, of so many that are left: three never leave one alone. */
FR_INLINE int strip_width(size_t left, int most)
{
    if (left >= (size_t)most) return most == 3 && left == 4 ? 2 : most;
    return (int)left;
}

/* Tile i prefetches half a panel of the next strip, which begins at vector n; NULL for nothing (CL-27). */
FR_INLINE const real *panel_to_prefetch(const product *p, size_t n, ptrdiff_t i, int width)
{
    if (!FR_PREFETCH_LINES || !p->far || i >= 2 * ((width + GROUP_VECTORS - 1) / GROUP_VECTORS)) return NULL;
    return p->w + ((ptrdiff_t)(n / GROUP_VECTORS) + i / 2) * p->w_group + i % 2 * (p->K / 2) * FR_GROUP;
}

/* C by strips of columns, each with M cut into tiles of nearly equal height, so that none is a sliver. */
static void gemm_block(const product *p)
{
    const int most = strip_vectors(p->M, p->a_row), ragged = p->edge < FR_GROUP;
    size_t left = (size_t)(p->groups - ragged) * GROUP_VECTORS;
    for (size_t n = 0; left > 0;) {
        int width = strip_width(left, most);
        ptrdiff_t tiles = pieces(p->M, tile_rows[width]);
        for (ptrdiff_t i = 1, m = 0, end; i <= tiles; i++, m = end) {
            end = piece_end(p->M, i, tiles);
            prefetch next = {panel_to_prefetch(p, n + (size_t)width, i - 1, width),
                            FR_PREFETCH_LINES && i > 1 && p->K * width * VL * (ptrdiff_t)sizeof(real) <= L1_BYTES,
                            FR_PREFETCH_LINES && p->K >= 128 && i < tiles};
            any_tile((int)(end - m), width, m, n, p, next);
        }
        n += (size_t)width, left -= (size_t)width;
    }
    ptrdiff_t tiles = ragged ? pieces(p->M, tile_rows[GROUP_VECTORS]) : 0;
    for (ptrdiff_t i = 1, m = 0, end; i <= tiles; i++, m = end) {
        end = piece_end(p->M, i, tiles);
        edge_tile((int)(end - m), m, p->groups - 1, p);
    }
}

/* The contract of a product (../README.md). */
static void check_product(const product *p)
{
    FR_CHECK(p->M >= 1 && p->groups >= 1 && p->K >= 1 && p->edge >= 1 && p->edge <= FR_GROUP);
    FR_CHECK(p->w_group >= p->K * FR_GROUP && (p->M == 1 || p->c_row >= p->edge));
    FR_CHECK(fr_flushes());
    const real *c_end = p->c + (p->M - 1) * p->c_row + (p->groups - 1) * p->c_group + p->edge;
    FR_CHECK(!fr_overlap(p->c, c_end, p->a, p->a + (p->M - 1) * p->a_row + p->K));
    FR_CHECK(!fr_overlap(p->c, c_end, p->w, p->w + (p->groups - 1) * p->w_group + p->K * FR_GROUP));
    (void)c_end;
}

static void gemm(const fr_product *given)
{
    FR_CHECK(given->w_panel % (ptrdiff_t)sizeof(real) == 0);
    const product copy = {given->M, given->groups, given->K, given->a, given->a_row, given->w,
                          given->w_panel / (ptrdiff_t)sizeof(real), given->far, given->init, given->init_row,
                          given->c, given->c_row, given->c_group, given->edge}, *whole = &copy;
    check_product(whole);
    ptrdiff_t M = whole->M, K = whole->K, most = K;
    /* The rows of one tile read every panel once, best in one line: there is nothing to keep in a cache (Z3-14). */
    if (M <= tile_rows[strip_vectors(M, whole->a_row)] || (M <= M_BLOCK && K <= K_BLOCK)) {
        gemm_block(whole);
        return;
    }
    ptrdiff_t row_blocks = pieces(M, M_BLOCK), deep_blocks = pieces(K, K_BLOCK);
    if (deep_blocks > 1) most = ((K + deep_blocks - 1) / deep_blocks + 3) & ~(ptrdiff_t)3;  /* steps come in fours */
    for (ptrdiff_t i = 1, m = 0, end; i <= row_blocks; i++, m = end) {
        product p = *whole;
        end = piece_end(M, i, row_blocks);
        p.M = end - m;
        p.c += m * p.c_row;
        if (p.init) p.init += m * p.init_row;
        for (ptrdiff_t k = 0; k < K; k += most) {
            p.K = K - k < most ? K - k : most;
            p.a = whole->a + m * p.a_row + k;
            p.w = whole->w + k * FR_GROUP;
            gemm_block(&p);
            p.init = p.c, p.init_row = p.c_row;  /* further blocks of K add to this one */
        }
    }
}
