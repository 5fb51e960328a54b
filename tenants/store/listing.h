/* One store_list under way: private to this folder. */
#pragma once

#include "tenants/store/news.h"

struct listing {
	struct task task; /* first: its completion on a worker */
	struct listing *next;
	char *ctx, *after; /* after NULL: from the first */
	enum record_kind kind;
	size_t limit;
	struct worker *worker;
	void (*done)(void *context, enum status status, const struct record *records, size_t count);
	void *context;
	enum status status;
	struct newspaper paper;
};

/* Owns copies of `asked`'s ctx and after. NULL: out of memory. */
struct listing *listing_new(struct text ctx, struct text after, const struct listing *asked);
/* Reads what it asks for, and finishes it. */
void listing_run(struct listing *listing, const struct backend *backend, void *database);
/* Tells the asker, on its worker, and frees it. */
void listing_finish(struct listing *listing, enum status status);
