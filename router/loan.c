/* Loans: small ones of large limits, single ones of small limits. */
#include "router/loan.h"

enum { LOAN_MAX = 8, LOAN_PART = 16, EXACT_BELOW = 32 };

/* How much a worker borrows at once, and may keep unused. */
static int64_t size_of(int64_t limit)
{
	int64_t size = limit / LOAN_PART;
	return size < 1 ? 1 : size > LOAN_MAX ? LOAN_MAX : size;
}

bool loan_take(struct loan *loan, _Atomic int64_t *lent, int64_t limit)
{
	int64_t before = atomic_load_explicit(lent, memory_order_relaxed);
	while (loan->used == loan->lent) {
		int64_t wanted = size_of(limit), more = before + wanted <= limit ? wanted : before + 1 <= limit ? 1 : 0;
		if (more == 0)
			return false;
		if (atomic_compare_exchange_weak_explicit(
				lent, &before, before + more, memory_order_relaxed, memory_order_relaxed))
			loan->lent += more;
	}
	loan->used++;
	return true;
}

static void give_back(struct loan *loan, _Atomic int64_t *lent, int64_t count)
{
	if (count <= 0)
		return;
	loan->lent -= count;
	atomic_fetch_sub_explicit(lent, count, memory_order_relaxed);
}

void loan_return(struct loan *loan, _Atomic int64_t *lent, int64_t limit)
{
	loan->used--;
	give_back(loan, lent, loan->lent - loan->used - (limit < EXACT_BELOW ? 0 : size_of(limit)));
}

void loan_end(struct loan *loan, _Atomic int64_t *lent)
{
	give_back(loan, lent, loan->lent);
}
