/* Google Benchmark for C: a benchmark is a function that runs its body `rounds` times between start and stop of the
 * clock. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

struct bench; /* one run of one benchmark */

/* The loop: while (bench_continues(bench)) { what is measured }. Set-up before it and clean-up after it are not timed.
 */
int bench_continues(struct bench *bench);
/* The argument this run was registered with. */
int64_t bench_argument(const struct bench *bench);
/* Bytes that one round works through, for a rate beside the time. */
void bench_set_bytes(struct bench *bench, int64_t bytes_a_round);
/* A figure of its own beside the time. */
void bench_note(struct bench *bench, const char *name, double figure);
/* Ends this run with a message instead of a figure. */
void bench_fail(struct bench *bench, const char *why);
/* Keeps the compiler from removing what made `value`. */
void bench_keep(const void *value);

/* Runs once for each argument; no arguments: once with 0. */
void bench_register(const char *name, void (*run)(struct bench *bench), const int64_t *arguments, size_t count);

/* Each bench_*.c registers its own. */
void register_benches(void);

#ifdef __cplusplus
}
#endif
