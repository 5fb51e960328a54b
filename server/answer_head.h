/* The head of an HTTP/2 answer as a block of fields (RFC 7541): every field a literal, its name by the static table
 * where that has it. Nothing enters the peer's table, nothing is searched in ours or Huffman-coded: some hundred bytes
 * more on the way, for an eighth of a small request's work. */
#pragma once

#include "server/exchange.h"

/* How many bytes it takes at most. */
size_t answer_head_room(const struct header *fields, size_t count);
/* The status and the fields (names lower-case), into answer_head_room bytes; returns how many they are. */
size_t answer_head_write(uint8_t *into, int status, const struct header *fields, size_t count);
/* The same without a status: trailers, or what goes behind a head. */
size_t answer_trailers_write(uint8_t *into, const struct header *fields, size_t count);
