/* Bytes that no format can print: keys, passwords, tokens. Wiped when freed, kept out of core dumps. */
#pragma once

#include <stddef.h>

#include "server/base/text.h"

struct secret;

/* Copies; the caller wipes its own copy. NULL when out of memory. */
struct secret *secret_new(struct text bytes);
struct secret *secret_copy(const struct secret *secret);
/* The only way to see the bytes; borrowed until secret_free. */
struct text secret_expose(const struct secret *secret);
void secret_free(struct secret *secret);
/* Overwrites memory in a way the compiler keeps. */
void wipe(void *bytes, size_t length);
/* Wipes, then frees. */
void buffer_wipe(struct buffer *buffer);
