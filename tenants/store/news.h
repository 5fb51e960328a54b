/* Records kept to be told of later, once what they come from is a commit: private to this folder. */
#pragma once

#include "tenants/store/backend.h"

struct news {
	struct record record; /* its texts lie behind it */
	struct news *next;
	char bytes[];
};
/* In the order they were written. */
struct newspaper {
	struct news *first, **end;
};

static inline void newspaper_begin(struct newspaper *paper)
{
	paper->first = NULL;
	paper->end = &paper->first;
}

/* Adds a copy; a record_visit with the newspaper as its context. */
bool newspaper_add(void *newspaper, const struct record *record);
/* The same, of kinds that listeners hear of. */
bool newspaper_add_loaded(void *newspaper, const struct record *record);
/* Moves all of `page` behind what is there. */
void newspaper_append(struct newspaper *paper, struct newspaper *page);
/* Frees what it holds, and begins it anew. */
void newspaper_drop(struct newspaper *paper);
