/* A bucket of an S3 store as a record describes it (AmazonS3, dataplane.md section 1.1), and signed requests to it. */
#pragma once

#include "server/base/json.h"
#include "server/url.h"
#include "tenants/dp/source/sigv4.h"

enum { S3_KEY_MAX = 1024, S3_HEADERS_MAX = 16 };

struct s3_bucket {
	struct url url; /* of the store: into `origin` */
	char *origin;
	char *host; /* as the Host field has it */
	char *base; /* "" (virtual-host style) or "/<bucket>" */
	char *region;
	char *secret_name; /* vault alias of {"accessKeyId","secretAccessKey"[,"sessionToken"]} */
};

/* Properties: region, bucketName, endpointOverride, addressingStyle ("path", "virtual"; path with an endpointOverride,
 * else virtual), keyName or secretName. Inline secrets are refused. `error` gets one line that names the property. */
enum status s3_bucket_build(const struct json *properties, struct s3_bucket *bucket, struct buffer *error) MUST_CHECK;
void s3_bucket_clear(struct s3_bucket *bucket);

struct s3_request {
	struct text method;
	struct text key;              /* as the store has it: not escaped, no leading slash needed */
	struct text query;            /* escaped and sorted; may be absent */
	struct text payload;          /* hex digest of the body, or SIGV4_UNSIGNED */
	const struct header *headers; /* besides those that are signed; at most S3_HEADERS_MAX - 6 */
	size_t header_count;
};

/* What to give to client_call_start; all-zero before, s3_call_clear after. */
struct s3_call {
	struct url url;
	struct header headers[S3_HEADERS_MAX];
	size_t header_count;
	char time[SIGV4_TIME_LENGTH + 1];
	struct buffer path, authorization;
	struct json *keys;
};

/* `secret`: the vault's value. UNAUTHORIZED: it is no such JSON. */
enum status s3_call_build(const struct s3_bucket *bucket, const struct s3_request *request, struct text secret,
	int64_t now_s, struct s3_call *call) MUST_CHECK;
void s3_call_clear(struct s3_call *call);
/* hex SHA-256 of no bytes at all */
#define S3_EMPTY_PAYLOAD TEXT("e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855")
