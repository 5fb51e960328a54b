/* One small call to an S3 store whose answer is collected whole: what steers uploads. */
#pragma once

#include "tenants/dp/source/s3_request.h"
#include "tenants/dp/state.h"

struct s3_talk;

struct s3_talk_request {
	struct dp_worker *home;
	struct text ctx;
	const struct s3_bucket *bucket;
	struct text secret;
	struct text method, key, query; /* as in s3_request.h */
	struct text content_type;       /* may be absent */
	struct text body;               /* may be absent */
};

/* status 0: there was no answer. length: what its head says, -1 unknown. The talk is over and forgotten when this is
 * called. */
typedef void s3_heard(void *context, int status, int64_t length, struct text body);
/* Copies what it needs. `heard` (NULL: nobody listens) runs once, later. NULL: not begun. */
struct s3_talk *s3_talk_start(const struct s3_talk_request *request, s3_heard *heard, void *context);
/* Breaks off; nothing is heard. NULL is fine. */
void s3_talk_end(struct s3_talk *talk);
