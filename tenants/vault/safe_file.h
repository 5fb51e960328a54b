/* Small files that must be whole, or must not be seen by others: keys, vault files, key sets. */
#pragma once

#include <sys/types.h>

#include "server/base/text.h"

/* Opens the folder a path is in; *name points into `path`. The caller closes *directory. */
enum status safe_file_split(const char *path, int *directory, const char **name) MUST_CHECK;
/* Reads into an empty buffer, in one allocation (wipe it when it was secret). NOT_FOUND; TOO_LARGE; FORBIDDEN:
 * `private`, and group or others may read or write it, or it belongs to neither us nor root; INVALID: not a regular
 * file. */
enum status safe_file_read(
	int directory, const char *name, size_t limit, bool private, struct buffer *content) MUST_CHECK;
/* The same of a path. */
enum status safe_file_load(const char *path, size_t limit, bool private, struct buffer *content) MUST_CHECK;
/* Whole and durable or not at all; never over an existing file: CONFLICT. */
enum status safe_file_create(int directory, const char *name, mode_t mode, struct text content) MUST_CHECK;
/* Whole and durable or the old one. One writer a name. */
enum status safe_file_replace(int directory, const char *name, mode_t mode, struct text content) MUST_CHECK;
