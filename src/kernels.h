/* The kernel tables: everything Cython sees of the kernels.
 *
 * Legend: T time, B batch, I input, H hidden, G gates. There is a table for each instruction set and each element type,
 * float or double; the pointers of a table's functions are to elements of its type. Sizes and strides count elements,
 * those of packed weights bytes.
 * Kernels own nothing: no allocation, no threads, no I/O, no Python. README.md in this folder is the contract.
 */
#ifndef FR_KERNELS_H
#define FR_KERNELS_H

#include <stddef.h>
#include <stdint.h>

#include "float_env.h"

#define FR_GROUP 16      /* columns of a panel of packed weights, the same on every ISA */
#define FR_COLUMNS 48    /* columns that become rows of a product at once: whole threes, whole groups */
#define FR_MAX_SLOTS 4   /* gate columns per unit that a cell may keep */
#define FR_ELEMENT_LOSSES 5
#define FR_MAX_STAGES 2  /* recurrent products per time step (GRU with reset before needs two) */

/* One time step of `rows` batch rows x the hidden units begin..end-1; the pointers are of unit 0.
 * Gate arrays are padded to whole groups, state arrays are not: their last group is read and written masked. */
typedef struct {
    ptrdiff_t rows, begin, end;
    void *gates;                 /* IN pre-activations, OUT activations: rows x slots x units */
    ptrdiff_t gates_row, slot;   /* strides between rows and between slots of one row */
    const void *h, *c;           /* IN the states before the step */
    void *h_next, *c_next;       /* OUT the states after it; c_next may be c */
    void *aux;                   /* OUT what a second stage multiplies, kept for backward */
    ptrdiff_t h_row;             /* row stride of h and h_next, which may lie inside wider rows */
    ptrdiff_t state_row;         /* row stride of c, c_next and aux */
} fr_forward_block;

typedef struct {
    ptrdiff_t rows, begin, end;
    void *gates;                 /* IN activations, OUT gradients of the pre-activations */
    ptrdiff_t gates_row, slot;
    ptrdiff_t gates_next;        /* from the last row to the first one that the step after this one will read */
    const void *h, *c, *c_next;  /* IN the states before the step, c after it */
    const void *dy;              /* IN gradient of the output at this step, or NULL */
    ptrdiff_t h_row, state_row, dy_row; /* row strides: of h; of c and c_next; of dy */
    void *dh, *dc;               /* IN gradient carried from the step after, OUT the part that bypasses the product */
    void *daux;                  /* OUT zeroed by the last stage, IN complete in the one before */
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

/* Packed weights W (K, N) in the format of a table: panels of 16 columns, panel[n / 16][k][n % 16] = W[k, n], 0 for the
 * missing columns of the last one. */
typedef struct {
    void *at;
    ptrdiff_t K, groups;
    ptrdiff_t line;              /* bytes from one k to the next */
    ptrdiff_t panel;             /* bytes from one group of columns to the next */
} fr_matrix;

/* Where line k of the panel of a group of columns begins. */
static inline void *fr_panel(const fr_matrix *matrix, ptrdiff_t k, ptrdiff_t group)
{
    return (char *)matrix->at + k * matrix->line + group * matrix->panel;
}

/* C (M, groups * 16) = init + A (M, K) @ W (K, groups * 16), K in order, one chain of multiply-adds. */
typedef struct {
    ptrdiff_t M, groups, K;
    const void *a;               /* A[m, k] = a[m * a_row + k] */
    ptrdiff_t a_row;
    const void *w;               /* the panel of the first group, */
    ptrdiff_t w_panel;           /* and bytes from one group's to the next one's */
    int far;                     /* w comes from beyond L2: prefetch a strip of it while the one before is used */
    const void *init;            /* NULL means 0; init_row 0 repeats one row; column groups as C's */
    ptrdiff_t init_row;
    void *c;                     /* column group n starts at n * c_group, the last has `edge` (1..16) columns */
    ptrdiff_t c_row, c_group, edge;
} fr_product;

/* A query and the keys that it is to be scored with: v . tanh(query + key s), A numbers each. */
typedef struct {
    ptrdiff_t A, count;          /* count keys, */
    const void *query, *keys, *v;
    ptrdiff_t key_row;           /* so many elements apart */
} fr_additive;

/* A cross-entropy with q = own * weights[target] at the target and rest * weights everywhere. */
typedef struct {
    ptrdiff_t V;
    const void *weights;         /* (V), or NULL: all 1 */
    double sum;                  /* of the weights */
    double own, rest;
} fr_class_weights;

/* Rows of outputs of a loss, one after the other. */
typedef struct {
    ptrdiff_t count, columns;    /* targets of a row; of outputs there are as many, or twice as many */
    double scale;                /* of the gradient */
    double option;               /* of the loss: what that means is said there */
} fr_element_rows;

#define FR_LATTICE_EDGE 8
#define FR_LATTICE_STRIDE(width) (2 * ((width) + FR_LATTICE_EDGE))

/* The lattice of one sequence of T steps and S labels, in doubles. */
typedef struct {
    ptrdiff_t T, S, width;       /* width: S + 1 rounded up to whole edges */
    const double *joins, *log_joins;  /* (width + edge) 1 where label i differs from label i-1, else 0; its logarithm */
    const double *lives;         /* (width) 1 for each label, then 0 */
    double *blanks, *labels;     /* (T), (T, width) IN logarithms of probabilities, OUT posteriors */
    double *a, *carry;           /* memory: (T, stride), (stride) */
    int64_t *exponents;          /* memory: (T) */
} fr_lattice;

typedef struct {
    const char *name;
    int size;                        /* bytes of an element: 4 float, 8 double */
    int vector;                      /* elements of a vector */
    int rows;                        /* rows of the largest register tile */
    const fr_cell *const *cells;
    int cell_count;

    /* The layout of packed weights (K, N): all of a matrix but `at`, which needs groups * panel bytes. */
    fr_matrix (*layout)(ptrdiff_t K, ptrdiff_t N);

    /* W[k0 + k, 16 * group0 + n] = source[k * source_k + n * source_n] for k < K and n < N, zeros up to whole groups. */
    void (*pack)(const fr_matrix *matrix, ptrdiff_t k0, ptrdiff_t group0, ptrdiff_t K, ptrdiff_t N,
                 const void *source, ptrdiff_t source_k, ptrdiff_t source_n);

    void (*gemm)(const fr_product *product);

    /* out[m * out_row + k] = rows[k * row + m] for m < columns, sum[m] += the sums over k. Zeros fill up the rows of
     * out to whole fours and their number to whole vectors. */
    void (*transpose)(ptrdiff_t K, ptrdiff_t columns, const void *rows, ptrdiff_t row, void *out, ptrdiff_t out_row,
                      void *sum);

    void (*add)(ptrdiff_t n, const void *source, void *target);            /* target += source */

    /* One row of V logits: its loss in nats and scale * (softmax - onehot). */
    double (*cross_entropy)(ptrdiff_t V, const void *logits, ptrdiff_t target, double scale, void *dlogits);

    /* p = scale * softmax(logits); log(sum(exp(logits))). */
    double (*softmax)(ptrdiff_t V, const void *logits, double scale, void *p);  /* p may be logits */

    /* The same with weights of the classes. */
    double (*weighted_cross_entropy)(const fr_class_weights *classes, const void *logits, ptrdiff_t target,
                                     double scale, void *dlogits);

    /* The sum of the losses of rows of outputs against targets, and its gradient times rows->scale. losses.inc.h. */
    double (*elements[FR_ELEMENT_LOSSES])(const fr_element_rows *rows, const void *outputs, const void *targets,
                                          void *doutputs);

    /* CTC: ctc.inc.h. Tables of doubles alone have the lattice. It returns 0 where it is to be called with `logs`. */
    void (*ctc_gather)(ptrdiff_t S, ptrdiff_t width, const int64_t *labels, const void *logits, double all,
                       double *log_p);
    void (*ctc_scatter)(ptrdiff_t S, const int64_t *labels, const double *posterior, double scale, void *dlogits);
    int (*ctc_lattice)(const fr_lattice *lattice, int logs, double *loss);

    /* target = source with the elements that `key` drops at probability p set to 0, the others scaled by 1/(1-p). */
    void (*dropout)(ptrdiff_t n, uint64_t key, uint64_t first, float p, const void *source, void *target);

    void (*tanh)(ptrdiff_t n, const void *x, void *y);
    void (*sigmoid)(ptrdiff_t n, const void *x, void *y);

    /* dx for p = softmax(x) and the gradient dp, which may be dx. */
    void (*softmax_backward)(ptrdiff_t n, const void *p, const void *dp, void *dx);

    /* The scores of all keys; and what their gradients add to those of the query, the keys (key_row apart) and v. */
    void (*additive_scores)(const fr_additive *of, void *scores);
    void (*additive_backward)(const fr_additive *of, const void *dscores, void *dquery, void *dkeys, void *dv);

    /* Loops that measure the processor: chains of multiply-adds, `probe_flops` a round; n elements read, n a multiple of
     * `probe_block`. What they return keeps the compiler from leaving them out. */
    double probe_flops;
    ptrdiff_t probe_block;
    double (*probe_multiply_add)(ptrdiff_t rounds);
    double (*probe_read)(ptrdiff_t rounds, ptrdiff_t n, const void *data);
} fr_kernels;

/* The table of float elements that is the i-th that can run here, from the plainest to the best; NULL past the last. */
const fr_kernels *fr_available(int i);
/* The best table of elements of `size` bytes that can run here and `limit` (a name or NULL) allows; NULL when the limit
 * names nothing that can run here. */
const fr_kernels *fr_select(const char *limit, int size);
/* Whether this build has threads. */
int fr_has_openmp(void);

#endif
