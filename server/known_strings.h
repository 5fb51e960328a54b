/* Huffman strings of header fields that came before, with what they mean. A token, and often a path, comes with every
 * request of a client and never enters HPACK's table: to compare it is a tenth of decoding it. One a worker. */
#pragma once

#include "server/base/text.h"

struct known_strings;

/* What is shorter is decoded as fast, what is longer is rare. */
enum { KNOWN_LEAST = 32, KNOWN_MOST = 2048 };

/* NULL when out of memory. */
struct known_strings *known_strings_new(void);
void known_strings_free(struct known_strings *strings);
/* A packed string of KNOWN_LEAST to KNOWN_MOST bytes: the plain one, TEXT_NONE when it is not known. Borrowed until the
 * next call. */
struct text known_strings_find(struct known_strings *strings, struct text packed);
/* After it was not found: its meaning, of KNOWN_MOST bytes at most. Taken when it comes a second time, so that what
 * comes once pushes nothing out. */
void known_strings_keep(struct known_strings *strings, struct text packed, struct text plain);
