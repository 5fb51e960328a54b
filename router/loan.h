/* A loan: what a worker has borrowed of a limit that holds for all workers, so that the count they share is touched
 * once in many uses. One worker's. */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct loan {
	int64_t lent, used;
};

/* Uses one more; false: `limit` are lent in all. `lent`: by all workers. */
bool loan_take(struct loan *loan, _Atomic int64_t *lent, int64_t limit);
/* One less; what is spare then is kept for the next up to a small number, none of a small limit. */
void loan_return(struct loan *loan, _Atomic int64_t *lent, int64_t limit);
/* Gives all back; nothing is used. */
void loan_end(struct loan *loan, _Atomic int64_t *lent);
