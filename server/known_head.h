/* Heads of an origin's answers that came before: another of the same bytes is not parsed again. One worker's own. */
#pragma once

#include "server/client.h"
#include "server/h1_parse.h"

/* A head as it was parsed, in memory of its own. Each user holds it; the last that lets go frees it. */
struct known_head {
	unsigned users;
	struct h1_head head;
	struct answer_memo memo; /* for who passes the answer on */
	struct text bytes;       /* as they came */
	struct header headers[];
};

/* What an origin remembers: one head. All-zero starts. */
struct known_heads {
	struct known_head *present;
	unsigned strangers, patience; /* so many others in a row; so many are let pass before one of them is learnt */
};

/* The head that stands whole at the start of the bytes, for the caller to hold; NULL: not known. */
struct known_head *known_head_find(struct known_heads *heads, const char *bytes, size_t length);
/* Before unknown bytes are parsed, which changes them: NULL, mostly, or a copy of them. */
char *known_head_begin(struct known_heads *heads, const char *bytes, size_t length);
/* After: the first `used` of the bytes were that head; 0: they were none that may be known. Takes the copy. */
void known_head_end(struct known_heads *heads, char *copy, const struct h1_head *head, const char *bytes, size_t used);
void known_head_release(struct known_head *known); /* NULL is fine */
void known_heads_forget(struct known_heads *heads);
