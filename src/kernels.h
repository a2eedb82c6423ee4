/* The kernel table: everything Cython sees of the kernels.
 *
 * Legend: T time, B batch, I input, H hidden, G gates. Sizes and strides count floats, never bytes.
 * Kernels own nothing: no allocation, no threads, no I/O, no Python. README.md in this folder is the contract.
 */
#ifndef FR_KERNELS_H
#define FR_KERNELS_H

#include <stddef.h>
#include <stdint.h>

#include "float_env.h"

#define FR_GROUP 16      /* lanes of a packed column group, the same on every ISA */
#define FR_COLUMNS 48    /* columns that become rows of a product at once: whole threes, whole groups */
#define FR_MAX_SLOTS 4   /* gate columns per unit that a cell may keep */
#define FR_MAX_STAGES 2  /* recurrent products per time step (GRU with reset before needs two) */

/* One time step of `rows` batch rows x the hidden units begin..end-1; the pointers are of unit 0.
 * Gate arrays are padded to whole groups, state arrays are not: their last group is read and written masked. */
typedef struct {
    ptrdiff_t rows, begin, end;
    float *gates;                /* IN pre-activations, OUT activations: rows x slots x units */
    ptrdiff_t gates_row, slot;   /* strides between rows and between slots of one row */
    const float *h, *c;          /* IN slot t */
    float *h_next, *c_next;      /* OUT slot t+1; c_next may be c */
    float *aux;                  /* OUT what a second stage multiplies, kept for backward */
    ptrdiff_t state_row;         /* row stride of h, c, h_next, c_next, aux */
} fr_forward_block;

typedef struct {
    ptrdiff_t rows, begin, end;
    float *gates;                /* IN activations, OUT gradients of the pre-activations */
    ptrdiff_t gates_row, slot, gates_step;  /* the last one between steps, of which step t-1 will be next */
    const float *h, *c, *c_next; /* IN slots t, t, t+1 */
    const float *dy;             /* IN gradient of the output at this step, or NULL */
    ptrdiff_t state_row;         /* row stride of h, c, c_next, dy */
    float *dh, *dc;              /* IN gradient carried from step t+1, OUT the part that bypasses the product */
    float *daux;                 /* OUT zeroed by the last stage, IN complete in the one before */
    ptrdiff_t carry_row;         /* row stride of dh, dc, daux (padded to whole groups) */
} fr_backward_block;

/* A recurrent product and the equations that follow it. */
typedef struct {
    int first, count;            /* its slots in the gate buffer */
    int gates[FR_MAX_SLOTS];     /* the public gate of each of those slots */
    int from_aux;                /* multiplies aux instead of h */
    void (*forward)(const fr_forward_block *block);
    void (*backward)(const fr_backward_block *block);
} fr_stage;

/* A cell: its equations and one row. */
typedef struct {
    const char *name;
    int gates;                       /* G of the public weights */
    int slots;                       /* gate columns kept per unit; more than G where W x and R h stay apart */
    int states;                      /* 1: h    2: h and c */
    int aux;                         /* 1: keeps an aux array */
    int input_gates[FR_MAX_SLOTS];   /* the public gate of slots 0..G-1, the ones W x is added to */
    int stages;
    fr_stage stage[FR_MAX_STAGES];
} fr_cell;

/* C (M, groups * 16) = init + A (M, K) @ W (K, groups * 16), K in order, one chain of multiply-adds. */
typedef struct {
    ptrdiff_t M, groups, K;
    const float *a;              /* A[m, k] = a[m * a_row + k] */
    ptrdiff_t a_row;
    const float *w;              /* in panels of 16 columns, w_group apart */
    ptrdiff_t w_group;
    int far;                     /* w comes from beyond L2: prefetch a strip of it while the one before is used */
    const float *init;           /* NULL means 0; init_row 0 repeats one row; column groups as C's */
    ptrdiff_t init_row;
    float *c;                    /* column group n starts at n * c_group, the last has `edge` (1..16) columns */
    ptrdiff_t c_row, c_group, edge;
} fr_product;

typedef struct {
    const char *name;
    int vector;                      /* floats per vector */
    int rows;                        /* rows of the largest register tile */
    const fr_cell *const *cells;
    int cell_count;

    /* panel[n / 16][k][n % 16] = source[k * source_k + n * source_n]; missing columns of the last group are 0. */
    void (*pack)(ptrdiff_t K, ptrdiff_t N, const float *source, ptrdiff_t source_k, ptrdiff_t source_n,
                 float *panel, ptrdiff_t panel_group);

    void (*gemm)(const fr_product *product);

    /* out[m * out_row + k] = rows[k * row + m] for m < columns, sum[m] += the sums over k. Zeros fill up the rows of
     * out to whole fours and their number to whole vectors. */
    void (*transpose)(ptrdiff_t K, ptrdiff_t columns, const float *rows, ptrdiff_t row, float *out, ptrdiff_t out_row,
                      float *sum);

    void (*add)(ptrdiff_t n, const float *source, float *target);          /* target += source */

    /* One row of V logits: its loss in nats and scale * (softmax - onehot). */
    float (*cross_entropy)(ptrdiff_t V, const float *logits, ptrdiff_t target, float scale, float *dlogits);

    /* target = source with the elements that `key` drops at probability p set to 0, the others scaled by 1/(1-p). */
    void (*dropout)(ptrdiff_t n, uint64_t key, uint64_t first, float p, const float *source, float *target);

    void (*tanh)(ptrdiff_t n, const float *x, float *y);
    void (*sigmoid)(ptrdiff_t n, const float *x, float *y);

    /* Loops that measure the processor: chains of multiply-adds, `probe_flops` a round; n floats read, n a multiple of
     * `probe_block`. What they return keeps the compiler from leaving them out. */
    double probe_flops;
    ptrdiff_t probe_block;
    float (*probe_multiply_add)(ptrdiff_t rounds);
    float (*probe_read)(ptrdiff_t rounds, ptrdiff_t n, const float *data);
} fr_kernels;

/* The best table that the processor and the operating system can run and `limit` (a name or NULL) allows; NULL when
 * the limit names nothing that can run here. */
const fr_kernels *fr_select(const char *limit);
/* The i-th table that can run here, from the plainest to the best, NULL past the last. */
const fr_kernels *fr_available(int i);

#endif
