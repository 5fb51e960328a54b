/* Receipts at the operator's tool: getting them from a cell, and checking them without one. */
#pragma once

#include "server/base/text.h"

/* Gets a page for this query into `answer`; else it has said what is wrong and returns the exit code. */
typedef int receipts_fetch(void *context, const char *query, struct buffer *answer);
/* Prints all receipts of the participant, or of one flow (NULL: all): as lines that receipts_verify takes, or for
 * people. Returns the exit code. */
int receipts_show(const char *ctx, const char *flow, bool as_lines, receipts_fetch *fetch, void *context);
/* Reads the lines of a file ("-": standard input). key_file: a public JWK, or NULL. Says what is proven, or where it
 * breaks. Returns the exit code: 1 when it breaks. */
int receipts_verify(const char *file, const char *key_file);
