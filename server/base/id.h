/* Random identifiers. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "server/base/text.h"

#define ID_LENGTH 32
#define UUID_LENGTH 36

/* 128 random bits as 32 lower-case hex characters and a NUL. Aborts the process if the kernel has no randomness. */
void id_random(char into[ID_LENGTH + 1]);
/* The same as RFC 9562 writes it, version 4: "xxxxxxxx-xxxx-4xxx-xxxx-xxxxxxxxxxxx" and a NUL. */
void uuid_random(char into[UUID_LENGTH + 1]);
void random_bytes(void *into, size_t length);
/* Exactly 32 lower-case hex characters. */
bool id_is_valid(struct text text);
/* An identifier given by a person or a peer: 1..limit bytes out of A-Z a-z 0-9 - _ . : */
bool name_is_valid(struct text text, size_t limit);
