/* The register tile that every product runs on: a few rows of A by a few vectors of columns of W, its sums in registers.
 *
 * Each element of C is one chain of multiply-adds over k in order, from init on. */

#define GROUP_VECTORS (FR_GROUP / VL)

/* fr_product with pointers to elements, and all its strides in elements. */
typedef struct {
    ptrdiff_t M, groups, K;
    const real *a;
    ptrdiff_t a_row;
    const real *w;
    ptrdiff_t w_group;
    int far;
    const real *init;
    ptrdiff_t init_row;
    real *c;
    ptrdiff_t c_row, c_group, edge;
} product;

/* Vector v of a tile that begins at vector `first` of a column group: where it is in a row of C, line k of W there. */
FR_INLINE ptrdiff_t column_of(const int first, const int v, ptrdiff_t group)
{
    return (first + v) / GROUP_VECTORS * group + (first + v) % GROUP_VECTORS * VL;
}

FR_INLINE const real *weights_of(const int first, const int v, const real *const *w, const int k)
{
    return w[(first + v) / GROUP_VECTORS] + k * FR_GROUP + (first + v) % GROUP_VECTORS * VL;
}

/* The pointers of a tile: one for every FR_POINTER_ROWS rows, one for every column group it touches. */
FR_INLINE int pointers_of(const int rows) { return (rows + FR_POINTER_ROWS - 1) / FR_POINTER_ROWS; }
FR_INLINE int groups_of(const int first, const int vectors)
{
    return (first + vectors + GROUP_VECTORS - 1) / GROUP_VECTORS;
}

/* Whether a tile of so many rows prefetches: lower ones were slower for it. */
#define PREFETCHES(ROWS) (FR_PREFETCH_LINES && (ROWS) > 6)

/* sum += A[:, k] W[k, :]. The shorter of the two sides is held in registers while the other one passes. The first of the
 * rows that share a pointer is multiplied straight from memory: fewer instructions, and a load more for every vector. W is
 * prefetched `ahead` lines before its turn, 0 for never. */
FR_INLINE void outer_product(const int rows, const int first, const int vectors, vec sum[][8], const real *const *a,
                             ptrdiff_t a_row, const real *const *w, const int k, const int ahead)
{
    vec held[8];
    if (rows < vectors) {
#pragma GCC unroll 16
        for (int m = 0; m < rows; m++) held[m] = v_set(a[m / FR_POINTER_ROWS][m % FR_POINTER_ROWS * a_row + k]);
#pragma GCC unroll 16
        for (int v = 0; v < vectors; v++) {
            vec weight = v_load(weights_of(first, v, w, k));
#pragma GCC unroll 16
            for (int m = 0; m < rows; m++) sum[m][v] = v_fma(held[m], weight, sum[m][v]);
        }
        return;
    }
#pragma GCC unroll 16
    for (int v = 0; v < vectors; v++) {
        held[v] = v_load(weights_of(first, v, w, k));
        if (ahead) __builtin_prefetch(weights_of(first, v, w, k + ahead));
    }
#pragma GCC unroll 16
    for (int m = 0; m < rows; m++) {
        const real *at = a[m / FR_POINTER_ROWS] + m % FR_POINTER_ROWS * a_row + k;
        if (FR_POINTER_ROWS > 1 && m % FR_POINTER_ROWS == 0) {
#pragma GCC unroll 16
            for (int v = 0; v < vectors; v++) v_fma_from(&sum[m][v], at, held[v]);
            continue;
        }
        vec x = v_set(*at);
#pragma GCC unroll 16
        for (int v = 0; v < vectors; v++) v_fma_onto(&sum[m][v], x, held[v]);
    }
}

/* Moves on by some steps. The empty assembly keeps every pointer in a register of its own: the compiler would rather
 * spell out the address of every unrolled load, and then has too few of them (Z3-9, Z3-17). */
FR_INLINE void advance(const int count, const real **at, const int distance)
{
#pragma GCC unroll 16
    for (int i = 0; i < count; i++) {
        at[i] += distance;
        __asm__("" : "+r"(at[i]));
    }
}

enum {
    LINE = 64 / sizeof(real),             /* elements of a cache line */
    NEXT_LINES = 2 * FR_GROUP / LINE      /* two lines of the next strip's panel every four steps: half of it in all */
};

/* All whole fours of steps: unrolled, they share the loop's counting. */
FR_INLINE void steps_of_four(const int rows, const int first, const int vectors, vec sum[][8], const real **a_at,
                             ptrdiff_t a_row, const real **w_at, const real *const end, const int ahead,
                             const real *next)
{
    while (a_at[0] != end) {
#pragma GCC unroll 16
        for (int k = 0; k < 4; k++) outer_product(rows, first, vectors, sum, a_at, a_row, w_at, k, ahead);
        advance(pointers_of(rows), a_at, 4);
        advance(groups_of(first, vectors), w_at, 4 * FR_GROUP);
        if (next) {
#pragma GCC unroll 4
            for (int line = 0; line < NEXT_LINES; line++, next += LINE) __builtin_prefetch(next, 0, 2);
        }
    }
}

/* What a tile prefetches while it computes. */
typedef struct {
    const real *panel;  /* K / 2 lines of the next strip, into L2; or NULL */
    int in_l1;           /* nothing of its own panels: they are in L1 */
    int c_below;         /* as many rows of C below its own. No others: they may be another thread's, which would lose them */
} prefetch;

/* C (rows, vectors) = init + A @ W with every size but K known to the compiler; w, init and c are those of the column
 * group whose vector `first` is C's first one. */
FR_INLINE void tile(const int rows, const int first, const int vectors, ptrdiff_t K, const real *a, ptrdiff_t a_row,
                    const real *w, ptrdiff_t w_group, const real *init, ptrdiff_t init_row,
                    real *c, ptrdiff_t c_row, ptrdiff_t c_group, prefetch next)
{
    const int pointers = pointers_of(rows), groups = groups_of(first, vectors);
    const real *a_at[FR_ROWS], *w_at[8];
    vec sum[FR_ROWS][8];  /* the compiler keeps it in registers: every index below is a constant once unrolled */
#pragma GCC unroll 16
    for (int m = 0; m < rows; m++)
#pragma GCC unroll 16
        for (int v = 0; v < vectors; v++)
            sum[m][v] = init ? v_load(init + m * init_row + column_of(first, v, c_group)) : v_set(0);
#pragma GCC unroll 16
    for (int i = 0; i < pointers; i++) a_at[i] = a + i * FR_POINTER_ROWS * a_row;
#pragma GCC unroll 16
    for (int g = 0; g < groups; g++) w_at[g] = w + g * w_group;
    if (PREFETCHES(rows) && next.c_below)
#pragma GCC unroll 16
        for (int m = 0; m < rows; m++)
#pragma GCC unroll 16
            for (int v = 0; v < vectors; v++)
                __builtin_prefetch(c + (rows + m) * c_row + column_of(first, v, c_group), 1);
    const real *const end = a + (K & -4);  /* for a pointer that moves anyhow: no register counts steps */
    if (PREFETCHES(rows) && next.panel)
        steps_of_four(rows, first, vectors, sum, a_at, a_row, w_at, end, FR_PREFETCH_LINES, next.panel);
    else if (PREFETCHES(rows) && !next.in_l1)
        steps_of_four(rows, first, vectors, sum, a_at, a_row, w_at, end, FR_PREFETCH_LINES, NULL);
    else steps_of_four(rows, first, vectors, sum, a_at, a_row, w_at, end, 0, NULL);
    for (K &= 3; K > 0; K--) {
        outer_product(rows, first, vectors, sum, a_at, a_row, w_at, 0, 0);
        advance(pointers, a_at, 1);
        advance(groups, w_at, FR_GROUP);
    }
#pragma GCC unroll 16
    for (int m = 0; m < rows; m++)
#pragma GCC unroll 16
        for (int v = 0; v < vectors; v++)
            v_store(c + m * c_row + column_of(first, v, c_group), sum[m][v]);
}

/* The tile of that size whose first element is row m and vector n of C. */
static void any_tile(int rows, int vectors, ptrdiff_t m, size_t n, const product *p, prefetch next)
{
    const ptrdiff_t group = (ptrdiff_t)(n / GROUP_VECTORS);
    const real *a = p->a + m * p->a_row, *w = p->w + group * p->w_group;
    const real *init = p->init ? p->init + m * p->init_row + group * p->c_group : NULL;
    real *c = p->c + m * p->c_row + group * p->c_group;
#define FR_SIZE(M, FIRST, N) (((M) * GROUP_VECTORS + (FIRST)) * 16 + (N))
#define FR_CASE(M, FIRST, N) \
    case FR_SIZE(M, FIRST, N): \
        tile(M, FIRST, N, p->K, a, p->a_row, w, p->w_group, init, p->init_row, c, p->c_row, p->c_group, next); \
        break;
    switch (FR_SIZE(rows, (int)(n % GROUP_VECTORS), vectors)) {
        FR_TILES(FR_CASE)
        default: FR_UNREACHABLE();  /* a tile that FR_TILES lacks */
    }
#undef FR_CASE
#undef FR_SIZE
}
