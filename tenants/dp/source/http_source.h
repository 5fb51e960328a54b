/* An HTTP source as its dataset describes it (HttpData, dataplane.md section 1.1), compiled once; private to its two
 * files. */
#pragma once

#include "tenants/dp/source/credential.h"

struct http_source {
	char *base_url;
	struct url url;    /* into base_url */
	struct text path;  /* of the request when the consumer's is not passed on; escaped, "/..." */
	struct text base;  /* what the consumer's path is appended to: no trailing '/' */
	struct text query; /* static; TEXT_NONE when none */
	char *path_text, *query_text;
	char *method, *content_type;
	bool proxy_method, proxy_path, proxy_query, proxy_body;
	unsigned methods;
	struct header *headers; /* header:<name>; owned texts */
	size_t header_count;
	struct credential_rules credential;
	unsigned lane_count;
	struct credential_lane *lanes; /* one per worker */
};

/* What the record says to send, and the credential of the worker's lane; at most HTTP_OWN_HEADERS. Borrowed from both.
 */
enum { HTTP_OWN_HEADERS = 40 };
size_t http_source_headers(
	const struct http_source *source, const struct credential_lane *lane, struct header *headers);
enum status http_source_build(const struct json *properties, unsigned workers, void **source, struct buffer *error);
void http_source_free(void *source);
