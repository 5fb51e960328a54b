/* What every answer from a file says, whatever is asked for: its validators and its type, printed once for as long as
 * the file stays the same and the same part of a dataset is asked. Shared by pulls of one worker. */
#pragma once

#include "server/known_fields.h"
#include "tenants/dp/dataset.h"
#include "tenants/dp/source/open_file.h"

struct file_answer {
	unsigned users;
	uint64_t part; /* its serial */
	struct known_fields *fields;
	struct text below, etag; /* the tag is strong */
};

/* below: the canonical path below the part. NULL: out of memory. The file keeps what was asked for last. */
struct file_answer *file_answer_take(const struct open_file *file, const struct dataset_part *part,
	struct text content_type, struct text below) MUST_CHECK;
void file_answer_leave(struct file_answer *answer); /* NULL is fine */
