/* Copies between row-major matrices and what a product reads: panels of W, rows of A. */

/* Rows ahead of the one being copied to prefetch: copies read a line or three of every row, which no processor foresees
 * (CL-25). */
enum { PREFETCH_ROWS = 16 };

typedef real piece __attribute__((vector_size(16)));
typedef real_bits piece_bits __attribute__((vector_size(16)));
enum { PIECE = sizeof(piece) / sizeof(real) };

/* to[j * to_row + i] = from[i * from_row + j], PIECE x PIECE: rows by turns from the halves, log2(PIECE) times */
FR_INLINE void transpose_pieces(const real *from, ptrdiff_t from_row, real *to, ptrdiff_t to_row)
{
    piece x[PIECE], y[PIECE];
#pragma GCC unroll 4
    for (int i = 0; i < PIECE; i++) memcpy(&x[i], from + i * from_row, sizeof *x);
#pragma GCC unroll 2
    for (int rounds = PIECE; rounds > 1; rounds /= 2) {
#pragma GCC unroll 2
        for (int i = 0; i < PIECE / 2; i++) {
            y[2 * i] = FR_SHUFFLE(piece_bits, x[i], x[i + PIECE / 2], ZIP_LOW);
            y[2 * i + 1] = FR_SHUFFLE(piece_bits, x[i], x[i + PIECE / 2], ZIP_HIGH);
        }
#pragma GCC unroll 4
        for (int i = 0; i < PIECE; i++) x[i] = y[i];
    }
#pragma GCC unroll 4
    for (int i = 0; i < PIECE; i++) memcpy(to + i * to_row, &x[i], sizeof *x);
}

/* Panels of K lines of a column group each, and a line of nothing: groups 4 KiB apart would share one set of L1, and a
 * product of one row reads eight of them side by side (CL-31). */
static fr_matrix layout(ptrdiff_t K, ptrdiff_t N)
{
    const ptrdiff_t line = FR_GROUP * sizeof(real);
    return (fr_matrix){.K = K, .groups = (N + FR_GROUP - 1) / FR_GROUP, .line = line, .panel = (K + 1) * line};
}

/* Copies N columns of K values, 16 to a panel; the missing columns of the last panel are zeros. */
static void pack(const fr_matrix *matrix, ptrdiff_t k0, ptrdiff_t group0, ptrdiff_t K, ptrdiff_t N,
                 const void *values, ptrdiff_t source_k, ptrdiff_t source_n)
{
    FR_CHECK(K >= 1 && N >= 1 && k0 >= 0 && k0 + K <= matrix->K);
    FR_CHECK(group0 >= 0 && group0 + (N + FR_GROUP - 1) / FR_GROUP <= matrix->groups);
    FR_CHECK(matrix->line == FR_GROUP * sizeof(real) && matrix->panel >= matrix->K * matrix->line);
    const ptrdiff_t group = matrix->panel / (ptrdiff_t)sizeof(real);
    const real *source = values;
    real *panel = fr_panel(matrix, k0, group0);
    for (ptrdiff_t n = 0; n < N; n += FR_GROUP, source += FR_GROUP * source_n, panel += group) {
        ptrdiff_t lanes = N - n < FR_GROUP ? N - n : FR_GROUP, k = 0;
        if (source_n == 1 && lanes == FR_GROUP)
            for (; k < K; k++) {
                __builtin_prefetch(source + (k + PREFETCH_ROWS) * source_k);
                memcpy(panel + k * FR_GROUP, source + k * source_k, FR_GROUP * sizeof *panel);
            }
        else if (source_k == 1 && lanes == FR_GROUP)
            for (; k + PIECE <= K; k += PIECE)
                for (ptrdiff_t lane = 0; lane < FR_GROUP; lane += PIECE)
                    transpose_pieces(source + lane * source_n + k, source_n, panel + k * FR_GROUP + lane, FR_GROUP);
        for (; k < K; k++)
            for (ptrdiff_t lane = 0; lane < FR_GROUP; lane++)
                panel[k * FR_GROUP + lane] = lane < lanes ? source[k * source_k + lane * source_n] : 0;
    }
}

/* out[m][k] = rows[k][m], four rows of k at a time; the sums over k on the way. */
static void transpose(ptrdiff_t K, ptrdiff_t columns, const void *rows, ptrdiff_t row, void *out, ptrdiff_t out_row,
                      void *sums)
{
    FR_CHECK(K >= 1 && 1 <= columns && columns <= FR_COLUMNS && out_row >= K);
    const real *from = rows;
    real *to = out, *sum = sums;
    for (ptrdiff_t k = 0; k < K; k += 4, from += 4 * row, to += 4) {
        for (ptrdiff_t m = 0; m < columns; m += VL) {
            ptrdiff_t lanes = columns - m < VL ? columns - m : VL;
            real four[4 * VL];
            vec total = v_load(sum + m);
            for (int i = 0; i < 4; i++) {
                vec x = k + i < K ? v_load_n(from + i * row + m, lanes) : v_set(0);
                __builtin_prefetch(from + (i + PREFETCH_ROWS) * row + m);
                total = v_add(total, x);
                v_store(four + i * VL, x);
            }
            v_store(sum + m, total);
            for (int lane = 0; lane < VL; lane += PIECE)
                for (int i = 0; i < 4; i += PIECE)
                    transpose_pieces(four + i * VL + lane, VL, to + (m + lane) * out_row + i, out_row);
        }
    }
}
