/* Copies between row-major matrices and what a product reads: panels of W, rows of A. */

/* Rows ahead of the one being copied to prefetch: copies read a line or three of every row, which no processor foresees
 * (CL-25). */
enum { PREFETCH_ROWS = 16 };

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
    FR_CHECK(K >= 1 && N >= 1 && panel_group >= K * FR_GROUP);
    for (ptrdiff_t n = 0; n < N; n += FR_GROUP, source += FR_GROUP * source_n, panel += panel_group) {
        ptrdiff_t lanes = N - n < FR_GROUP ? N - n : FR_GROUP, k = 0;
        if (source_n == 1 && lanes == FR_GROUP)
            for (; k < K; k++) {
                __builtin_prefetch(source + (k + PREFETCH_ROWS) * source_k);
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

/* out[m][k] = rows[k][m], four rows of k at a time; the sums over k on the way. */
static void transpose(ptrdiff_t K, ptrdiff_t columns, const float *rows, ptrdiff_t row, float *out, ptrdiff_t out_row,
                      float *sum)
{
    FR_CHECK(K >= 1 && 1 <= columns && columns <= FR_COLUMNS && out_row >= K);
    for (ptrdiff_t k = 0; k < K; k += 4, rows += 4 * row, out += 4) {
        for (ptrdiff_t m = 0; m < columns; m += VL) {
            ptrdiff_t lanes = columns - m < VL ? columns - m : VL;
            float four[4 * VL];
            vec total = v_load(sum + m);
            for (int i = 0; i < 4; i++) {
                vec x = k + i < K ? v_load_n(rows + i * row + m, lanes) : v_set(0);
                __builtin_prefetch(rows + (i + PREFETCH_ROWS) * row + m);
                total = v_add(total, x);
                v_store(four + i * VL, x);
            }
            v_store(sum + m, total);
            for (int lane = 0; lane < VL; lane += 4)
                transpose_quads(four + lane, VL, out + (m + lane) * out_row, out_row);
        }
    }
}
