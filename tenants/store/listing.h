/* One store_list or store_read under way: private to this folder. */
#pragma once

#include "tenants/store/news.h"

struct listing {
	struct task task; /* first: its completion on a worker */
	struct listing *next;
	char *ctx, *after; /* after NULL: from the first */
	char *ids;         /* store_read's, as a JSON array; NULL: it is store_list */
	enum record_kind kind;
	size_t limit;
	struct worker *worker;
	void (*done)(void *context, enum status status, const struct record *records, size_t count);
	void *context;
	enum status status;
	struct newspaper paper;
};

/* With a copy of ctx. NULL: out of memory. */
struct listing *listing_new(struct text ctx, const struct listing *asked);
/* Copies of what it is to read; false: out of memory. */
bool listing_after(struct listing *listing, struct text after); /* absent: from the first */
bool listing_ids(struct listing *listing, const struct text *ids, size_t count);
/* Reads what it asks for, and finishes it. */
void listing_run(struct listing *listing, const struct backend *backend, void *database);
/* Tells the asker, on its worker, and frees it. */
void listing_finish(struct listing *listing, enum status status);
