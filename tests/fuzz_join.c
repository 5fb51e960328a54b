/* A join as anybody may send it, and keys as text. */
#include <stdlib.h>

#include "control/bus/join_request.h"
#include "control/bus/nats_jwt.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length);
int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
	const struct text text = {(const char *)bytes, length};
	struct join_request request;
	struct buffer error = {0}, account = {0};
	struct json *root = NULL;
	struct nkey *nkey = NULL;
	int64_t expires_s;
	if (json_parse(text, NULL, &root) == STATUS_OK && join_request_read(root, &request, &error) == STATUS_OK) {
		if (join_request_verify(&request) == STATUS_OK || request.cell_id.length > JOIN_CELL_MAX)
			abort(); /* nobody has that key */
	} else if (root != NULL && error.length == 0) {
		abort();
	}
	json_free(root);
	if (nkey_from_seed(text, NKEY_USER, &nkey) == STATUS_OK && nkey_public(nkey)[0] != 'U')
		abort();
	nkey_free(nkey);
	if (nats_jwt_user_read(text, &account, &expires_s) == STATUS_OK && account.length != NKEY_PUBLIC_LENGTH)
		abort();
	buffer_free(&error);
	buffer_free(&account);
	return 0;
}
