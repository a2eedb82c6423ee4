/* Packing and the one register tile every matrix product runs on.
 *
 *     C (M, N) = init + A (M, K) @ W (K, N)
 *
 * W lies in panels of one column group: panel[n / 16][k][n % 16], so a tile reads it in one line. Each element of C is one
 * chain of multiply-adds over k in order, from init on. Storing and loading a partial sum is exact, so blocking K,
 * the height of a tile and who computes it change no bit of the result. */

#define GROUP_VECTORS (FR_GROUP / VL)

enum {
    K_BLOCK = VL == 4 ? 256 : VL == 8 ? 512 : 1024,  /* a group's panel of it, 16 to 64 KiB, stays near under all rows */
    M_BLOCK = VL < 16 ? 128 : 256,  /* its rows of K_BLOCK, up to 256 KiB, on AVX-512 1 MiB, stay in L2 under all groups */
    KEPT_FLOATS = 6144,  /* a strip's panels that are still in L1 when the next tile wants them: 24 KiB */
    ROWS_AHEAD = 16  /* what copies read a line or three of every row is asked for so early: no processor sees it coming */
};

typedef float quad __attribute__((vector_size(16)));

/* to[j * to_row + i] = from[i * from_row + j], 4 x 4 */
FR_INLINE void transpose_quads(const float *from, ptrdiff_t from_row, float *to, ptrdiff_t to_row)
{
    quad x[4];
    for (int i = 0; i < 4; i++) memcpy(&x[i], from + i * from_row, sizeof *x);
    quad ab = FR_SHUFFLE(x[0], x[1], 0, 4, 1, 5), ab_high = FR_SHUFFLE(x[0], x[1], 2, 6, 3, 7);
    quad cd = FR_SHUFFLE(x[2], x[3], 0, 4, 1, 5), cd_high = FR_SHUFFLE(x[2], x[3], 2, 6, 3, 7);
    x[0] = FR_SHUFFLE(ab, cd, 0, 1, 4, 5), x[1] = FR_SHUFFLE(ab, cd, 2, 3, 6, 7);
    x[2] = FR_SHUFFLE(ab_high, cd_high, 0, 1, 4, 5), x[3] = FR_SHUFFLE(ab_high, cd_high, 2, 3, 6, 7);
    for (int i = 0; i < 4; i++) memcpy(to + i * to_row, &x[i], sizeof *x);
}

/* Copies N columns of K values, 16 to a panel; the missing columns of the last panel are zeros. */
static void pack(ptrdiff_t K, ptrdiff_t N, const float *source, ptrdiff_t source_k, ptrdiff_t source_n,
                 float *panel, ptrdiff_t panel_group)
{
    for (ptrdiff_t n = 0; n < N; n += FR_GROUP, source += FR_GROUP * source_n, panel += panel_group) {
        ptrdiff_t lanes = N - n < FR_GROUP ? N - n : FR_GROUP, k = 0;
        if (source_n == 1 && lanes == FR_GROUP)
            for (; k < K; k++) {
                __builtin_prefetch(source + (k + ROWS_AHEAD) * source_k);
                memcpy(panel + k * FR_GROUP, source + k * source_k, FR_GROUP * sizeof *panel);
            }
        else if (source_k == 1 && lanes == FR_GROUP)
            for (; k + 4 <= K; k += 4)
                for (ptrdiff_t lane = 0; lane < FR_GROUP; lane += 4)
                    transpose_quads(source + lane * source_n + k, source_n, panel + k * FR_GROUP + lane, FR_GROUP);
        for (; k < K; k++)
            for (ptrdiff_t lane = 0; lane < FR_GROUP; lane++)
                panel[k * FR_GROUP + lane] = lane < lanes ? source[k * source_k + lane * source_n] : 0;
    }
}

static void transpose(ptrdiff_t K, ptrdiff_t columns, const float *rows, ptrdiff_t row, float *out, ptrdiff_t out_row,
                      float *sum)
{
    for (ptrdiff_t k = 0; k < K; k += 4, rows += 4 * row, out += 4) {
        for (ptrdiff_t m = 0; m < columns; m += VL) {
            ptrdiff_t lanes = columns - m < VL ? columns - m : VL;
            float four[4 * VL];
            vec total = v_load(sum + m);
            for (int i = 0; i < 4; i++) {
                vec x = k + i < K ? v_load_n(rows + i * row + m, lanes) : v_set(0);
                __builtin_prefetch(rows + (i + ROWS_AHEAD) * row + m);
                total = v_add(total, x);
                v_store(four + i * VL, x);
            }
            v_store(sum + m, total);
            for (int lane = 0; lane < VL; lane += 4)
                transpose_quads(four + lane, VL, out + (m + lane) * out_row, out_row);
        }
    }
}

/* Vector v of a tile that begins at vector `first` of a column group: where it is in a row of C, line k of W there. */
FR_INLINE ptrdiff_t column_of(const int first, const int v, ptrdiff_t group)
{
    return (first + v) / GROUP_VECTORS * group + (first + v) % GROUP_VECTORS * VL;
}

FR_INLINE const float *weights_of(const int first, const int v, const float *const *w, const int k)
{
    return w[(first + v) / GROUP_VECTORS] + k * FR_GROUP + (first + v) % GROUP_VECTORS * VL;
}

/* The pointers of a tile: one for every FR_SPAN rows, one for every column group it touches. */
FR_INLINE int spans_of(const int rows) { return (rows + FR_SPAN - 1) / FR_SPAN; }
FR_INLINE int groups_of(const int first, const int vectors)
{
    return (first + vectors + GROUP_VECTORS - 1) / GROUP_VECTORS;
}

/* Whether a tile asks for what comes next: lower ones were slower for it. */
#define ASKS_AHEAD(ROWS) (FR_AHEAD && (ROWS) > 6)

/* sum += A[:, k] W[k, :]. The shorter of the two sides waits in registers for the other one. The first of the rows that
 * share a pointer is multiplied straight from memory: fewer instructions, and a load more for every vector. W is asked
 * for `ahead` lines before its turn, 0 for never. */
FR_INLINE void outer_product(const int rows, const int first, const int vectors, vec sum[][8], const float *const *a,
                             ptrdiff_t a_row, const float *const *w, const int k, const int ahead)
{
    vec waiting[8];
    if (rows < vectors) {
#pragma GCC unroll 16
        for (int m = 0; m < rows; m++) waiting[m] = v_set(a[m / FR_SPAN][m % FR_SPAN * a_row + k]);
#pragma GCC unroll 16
        for (int v = 0; v < vectors; v++) {
            vec weight = v_load(weights_of(first, v, w, k));
#pragma GCC unroll 16
            for (int m = 0; m < rows; m++) sum[m][v] = v_fma(waiting[m], weight, sum[m][v]);
        }
        return;
    }
#pragma GCC unroll 16
    for (int v = 0; v < vectors; v++) {
        waiting[v] = v_load(weights_of(first, v, w, k));
        if (ahead) __builtin_prefetch(weights_of(first, v, w, k + ahead));
    }
#pragma GCC unroll 16
    for (int m = 0; m < rows; m++) {
        const float *at = a[m / FR_SPAN] + m % FR_SPAN * a_row + k;
        if (FR_SPAN > 1 && m % FR_SPAN == 0) {
#pragma GCC unroll 16
            for (int v = 0; v < vectors; v++) v_fma_from(&sum[m][v], at, waiting[v]);
            continue;
        }
        vec x = v_set(*at);
#pragma GCC unroll 16
        for (int v = 0; v < vectors; v++) v_fma_onto(&sum[m][v], x, waiting[v]);
    }
}

/* Moves on by some steps. The empty assembly keeps every pointer in a register of its own: the compiler would rather
 * spell out the address of every unrolled load, and then has too few of them. */
FR_INLINE void advance(const int count, const float **at, const int floats)
{
#pragma GCC unroll 16
    for (int i = 0; i < count; i++) {
        at[i] += floats;
        __asm__("" : "+r"(at[i]));
    }
}

/* All whole fours of steps: unrolled, they share the loop's counting. */
FR_INLINE void steps_of_four(const int rows, const int first, const int vectors, vec sum[][8], const float **a_at,
                             ptrdiff_t a_row, const float **w_at, const float *const end, const int ahead,
                             const float *next)
{
    while (a_at[0] != end) {
#pragma GCC unroll 16
        for (int k = 0; k < 4; k++) outer_product(rows, first, vectors, sum, a_at, a_row, w_at, k, ahead);
        advance(spans_of(rows), a_at, 4);
        advance(groups_of(first, vectors), w_at, 4 * FR_GROUP);
        if (next) {
            __builtin_prefetch(next, 0, 2);
            __builtin_prefetch(next + FR_GROUP, 0, 2);
            next += 2 * FR_GROUP;
        }
    }
}

/* What a tile asks for while it computes. */
typedef struct {
    const float *panel;  /* K / 2 lines that L2 will be asked for soon, or NULL */
    int kept;            /* nothing of its own panels: L1 has them */
    int below;           /* C of as many rows below. Others may be another thread's, which would lose them */
} to_come;

/* C (rows, vectors) = init + A @ W with every size but K known to the compiler; w, init and c are those of the column
 * group whose vector `first` is C's first one. */
FR_INLINE void tile(const int rows, const int first, const int vectors, ptrdiff_t K, const float *a, ptrdiff_t a_row,
                    const float *w, ptrdiff_t w_group, const float *init, ptrdiff_t init_row,
                    float *c, ptrdiff_t c_row, ptrdiff_t c_group, to_come next)
{
    const int spans = spans_of(rows), groups = groups_of(first, vectors);
    const float *a_at[FR_ROWS], *w_at[8];
    vec sum[FR_ROWS][8];  /* the compiler keeps it in registers: every index below is a constant once unrolled */
#pragma GCC unroll 16
    for (int m = 0; m < rows; m++)
#pragma GCC unroll 16
        for (int v = 0; v < vectors; v++)
            sum[m][v] = init ? v_load(init + m * init_row + column_of(first, v, c_group)) : v_set(0);
#pragma GCC unroll 16
    for (int i = 0; i < spans; i++) a_at[i] = a + i * FR_SPAN * a_row;
#pragma GCC unroll 16
    for (int g = 0; g < groups; g++) w_at[g] = w + g * w_group;
    if (ASKS_AHEAD(rows) && next.below)
#pragma GCC unroll 16
        for (int m = 0; m < rows; m++)
#pragma GCC unroll 16
            for (int v = 0; v < vectors; v++)
                __builtin_prefetch(c + (rows + m) * c_row + column_of(first, v, c_group), 1);
    const float *const end = a + (K & -4);  /* for a pointer that moves anyhow: no register counts steps */
    if (ASKS_AHEAD(rows) && next.panel)
        steps_of_four(rows, first, vectors, sum, a_at, a_row, w_at, end, FR_AHEAD, next.panel);
    else if (ASKS_AHEAD(rows) && !next.kept)
        steps_of_four(rows, first, vectors, sum, a_at, a_row, w_at, end, FR_AHEAD, NULL);
    else steps_of_four(rows, first, vectors, sum, a_at, a_row, w_at, end, 0, NULL);
    for (K &= 3; K > 0; K--) {
        outer_product(rows, first, vectors, sum, a_at, a_row, w_at, 0, 0);
        advance(spans, a_at, 1);
        advance(groups, w_at, FR_GROUP);
    }
#pragma GCC unroll 16
    for (int m = 0; m < rows; m++)
#pragma GCC unroll 16
        for (int v = 0; v < vectors; v++)
            v_store(c + m * c_row + column_of(first, v, c_group), sum[m][v]);
}

/* The tile of that size whose first element is row m and vector n of C. */
static void any_tile(int rows, int vectors, ptrdiff_t m, size_t n, const fr_product *p, to_come next)
{
    const ptrdiff_t group = (ptrdiff_t)(n / GROUP_VECTORS);
    const float *a = p->a + m * p->a_row, *w = p->w + group * p->w_group;
    const float *init = p->init ? p->init + m * p->init_row + group * p->c_group : NULL;
    float *c = p->c + m * p->c_row + group * p->c_group;
#define FR_SIZE(M, FIRST, N) (((M) * GROUP_VECTORS + (FIRST)) * 16 + (N))
#define FR_CASE(M, FIRST, N) \
    case FR_SIZE(M, FIRST, N): \
        tile(M, FIRST, N, p->K, a, p->a_row, w, p->w_group, init, p->init_row, c, p->c_row, p->c_group, next); \
        break;
    switch (FR_SIZE(rows, (int)(n % GROUP_VECTORS), vectors)) { FR_TILES(FR_CASE) }
#undef FR_CASE
#undef FR_SIZE
}

/* A last column group that is not whole: through a full tile of our own, so that nothing beside C is touched. */
static void edge_tile(int rows, ptrdiff_t m, ptrdiff_t n, const fr_product *p)
{
    float whole[FR_ROWS * FR_GROUP] = {0}, *c = p->c + m * p->c_row + n * p->c_group;
    fr_product one = *p;
    one.a += m * p->a_row, one.w += n * p->w_group;
    one.init = one.c = whole, one.init_row = one.c_row = FR_GROUP;
    if (p->init)
        for (int i = 0; i < rows; i++)
            memcpy(whole + i * FR_GROUP, p->init + (m + i) * p->init_row + n * p->c_group, (size_t)p->edge * sizeof *c);
    any_tile(rows, GROUP_VECTORS, 0, 0, &one, (to_come){NULL, 0, 0});
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

/* Tile i asks for half a panel of the strip that comes after its own, from vector n on. */
FR_INLINE const float *panel_to_come(const fr_product *p, size_t n, ptrdiff_t i, int width)
{
    if (!FR_AHEAD || !p->far || i >= 2 * width) return NULL;
    return p->w + ((ptrdiff_t)(n / GROUP_VECTORS) + i / 2) * p->w_group + i % 2 * (p->K / 2) * FR_GROUP;
}

/* C by strips of columns, each with M cut into tiles of nearly equal height, so that none is a sliver. */
static void gemm_block(const fr_product *p)
{
    const int most = strip_vectors(p->M, p->a_row), ragged = p->edge < FR_GROUP;
    size_t left = (size_t)(p->groups - ragged) * GROUP_VECTORS;
    for (size_t n = 0; left > 0;) {
        int width = strip_width(left, most);
        ptrdiff_t tiles = pieces(p->M, tile_rows[width]);
        for (ptrdiff_t i = 1, m = 0, end; i <= tiles; i++, m = end) {
            end = piece_end(p->M, i, tiles);
            to_come next = {panel_to_come(p, n + (size_t)width, i - 1, width),
                            FR_AHEAD && i > 1 && p->K * width * VL <= KEPT_FLOATS,
                            FR_AHEAD && p->K >= 128 && i < tiles};
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

static void gemm(const fr_product *whole)
{
    ptrdiff_t M = whole->M, K = whole->K, most = K;
    /* The rows of one tile read every panel once, best in one line: there is nothing to keep in a cache. */
    if (M <= tile_rows[strip_vectors(M, whole->a_row)] || (M <= M_BLOCK && K <= K_BLOCK)) {
        gemm_block(whole);
        return;
    }
    ptrdiff_t row_blocks = pieces(M, M_BLOCK), deep_blocks = pieces(K, K_BLOCK);
    if (deep_blocks > 1) most = ((K + deep_blocks - 1) / deep_blocks + 3) & ~(ptrdiff_t)3;  /* steps come in fours */
    for (ptrdiff_t i = 1, m = 0, end; i <= row_blocks; i++, m = end) {
        fr_product p = *whole;
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

static void add(ptrdiff_t n, const float *source, float *target)
{
    for (; n >= VL; n -= VL, source += VL, target += VL) v_store(target, v_add(v_load(target), v_load(source)));
    if (n) v_store_n(target, n, v_add(v_load_n(target, n), v_load_n(source, n)));
}
