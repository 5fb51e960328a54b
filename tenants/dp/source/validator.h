/* Strong validators (RFC 9110 section 8.8) bound to a dataset and its version, so that a transfer goes on where it was
 * cut: with another token, after a restart, on another cell. Pure functions.
 *
 * A file's tag is made of the dataset (ctx, id, part, declared version), the path below it, and the file's size;
 * without a declared version also of its time of change in nanoseconds. Neither inode nor ctime: a copy made with rsync
 * -a or cp -p on another cell is the same representation. Why that is strong enough: bytes cannot change without a new
 * time of change, unless somebody sets the time back or writes twice within one tick of the file system's clock with
 * the size unchanged; and a file that changes under a transfer fails it (source_file.c), so that no body is ever a
 * mixture. Who needs more, or has copies without their times, declares the property "version": then it is the version
 * that must change whenever the bytes do.
 *
 * An HTTP source's tag is passed on with the binding in front, and taken off again on its way back: two datasets never
 * share a validator, whatever their sources say. Weak stays weak. */
#pragma once

#include "server/base/text.h"
#include "tenants/dp/source/open_file.h"

enum { BINDING_LENGTH = 16, VERSION_MAX = 128, FILE_TAG_LENGTH = 2 + BINDING_LENGTH + 3 * 17 };

/* 64 bits of the SHA-256 of (ctx, dataset, part, version), in hex. version absent: not declared. */
enum status binding_make(struct text ctx, struct text dataset, struct text part, struct text version,
	char into[BINDING_LENGTH + 1]) MUST_CHECK;
/* below: the canonical path below the part. */
void file_tag_print(const char *binding, bool has_version, struct text below, const struct open_file *file,
	char into[FILE_TAG_LENGTH + 1]);

/* The source's tag as the consumer sees it; false: not a valid tag. */
bool tag_bind(const char *binding, struct text tag, struct buffer *into);
/* A consumer's list of tags (If-Match, If-None-Match), or one (If-Range), as the source may see it: "*", or those that
 * are of this binding, without it. False: none is, so that nothing can match. A malformed list counts up to its fault.
 */
bool tags_unbind(const char *binding, struct text list, struct buffer *into);
