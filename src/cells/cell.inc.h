/* What every cell's equations stand on: a cell writes them for one vector of units of one batch row; the two loops
 * below walk a block. `n` is the number of real lanes, a constant VL in all but a block's last vector. */

typedef struct {
    real *gate[FR_MAX_SLOTS];  /* padded: always whole vectors */
    const real *h, *c;
    real *h_next, *c_next, *aux;
    ptrdiff_t n;
} fr_forward_point;

typedef struct {
    real *gate[FR_MAX_SLOTS];
    const real *h, *c, *c_next;
    vec dh;                     /* the whole gradient of this step's h: carried part + dy */
    real *carry_h, *carry_c, *daux;
    ptrdiff_t n;
} fr_backward_point;

/* An element of an array. One that the cell does not have is NULL and stays so: no arithmetic on it. */
#define AT(array, offset) ((array) ? (real *)(array) + (offset) : NULL)

FR_INLINE void forward_at(void (*equations)(const fr_forward_point *), const int slots, const fr_forward_block *b,
                          ptrdiff_t row, ptrdiff_t unit, ptrdiff_t n)
{
    ptrdiff_t h = row * b->h_row + unit, state = row * b->state_row + unit;
    fr_forward_point p = {{0}, AT(b->h, h), AT(b->c, state), AT(b->h_next, h), AT(b->c_next, state), AT(b->aux, state), n};
    for (int g = 0; g < slots; g++) p.gate[g] = (real *)b->gates + row * b->gates_row + g * b->slot + unit;
    equations(&p);
}

FR_INLINE void forward_block(void (*equations)(const fr_forward_point *), const int slots, const fr_forward_block *block)
{
    const fr_forward_block copy = *block, *b = &copy;  /* a copy no store can alias: it stays in registers (Z3-41) */
    FR_CHECK(b->rows >= 1 && b->begin % FR_GROUP == 0 && b->begin < b->end && b->end <= b->slot);
    FR_CHECK(b->gates_row >= slots * b->slot && b->h_next != b->h && fr_flushes());
    for (ptrdiff_t row = 0; row < b->rows; row++) {
        ptrdiff_t unit = b->begin;
        for (; unit + VL <= b->end; unit += VL) forward_at(equations, slots, b, row, unit, VL);
        if (unit < b->end) forward_at(equations, slots, b, row, unit, b->end - unit);
    }
}

/* `next` is the distance to the next row, which is prefetched: the tape has left the caches, and rows are too short for the
 * hardware to do it (Z3-26, CL-46). */
FR_INLINE void backward_at(void (*equations)(const fr_backward_point *), const int slots, const fr_backward_block *b,
                           ptrdiff_t row, ptrdiff_t unit, ptrdiff_t n, ptrdiff_t next)
{
    ptrdiff_t state = row * b->state_row + unit, carry = row * b->carry_row + unit;
    real *dh = (real *)b->dh + carry;
    fr_backward_point p = {{0}, AT(b->h, row * b->h_row + unit), AT(b->c, state), AT(b->c_next, state), v_load(dh),
                           dh, AT(b->dc, carry), AT(b->daux, carry), n};
    if (b->dy) p.dh = v_add(p.dh, v_load_n((const real *)b->dy + row * b->dy_row + unit, n));
    for (int g = 0; g < slots; g++) {
        p.gate[g] = (real *)b->gates + row * b->gates_row + g * b->slot + unit;
        __builtin_prefetch(p.gate[g] + next, 1);
    }
    equations(&p);
}

/* An infinite x has left NaN in the padding of the gates, which the products with da run over. */
FR_INLINE void clear_padding(const int slots, const fr_backward_block *b, ptrdiff_t row)
{
    ptrdiff_t unit = b->end - b->end % VL, n = b->end % VL;
    for (; unit % FR_GROUP || n; unit += VL, n = 0)
        for (int g = 0; g < slots; g++) {
            real *gate = (real *)b->gates + row * b->gates_row + g * b->slot + unit;
            v_store(gate, v_load_n(gate, n));
        }
}

FR_INLINE void backward_block(void (*equations)(const fr_backward_point *), const int slots, const fr_backward_block *block)
{
    const fr_backward_block copy = *block, *b = &copy;
    FR_CHECK(b->rows >= 1 && b->begin % FR_GROUP == 0 && b->begin < b->end && b->end <= b->slot);
    FR_CHECK(b->gates_row >= slots * b->slot && b->carry_row % FR_GROUP == 0 && fr_flushes());
    for (ptrdiff_t row = 0; row < b->rows; row++) {
        ptrdiff_t unit = b->begin, next = row + 1 < b->rows ? b->gates_row : b->gates_next;
        clear_padding(slots, b, row);
        for (; unit + VL <= b->end; unit += VL) backward_at(equations, slots, b, row, unit, VL, next);
        if (unit < b->end) backward_at(equations, slots, b, row, unit, b->end - unit, next);
    }
}

/* y' of the logistic and of tanh from their own values y. */
FR_INLINE vec d_sigmoid(vec y) { return v_fnma(y, y, y); }
FR_INLINE vec d_tanh(vec y) { return v_fnma(y, y, v_set(1)); }
