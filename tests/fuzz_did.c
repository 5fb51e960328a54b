/* DIDs and their documents. What makes a URL must make a URL that parses, below /did.json and on the DID's own host; a
 * key that is found must be found under its whole id too. */
#include <stdlib.h>

#include "server/url.h"
#include "tenants/jose/did.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_url(struct text did)
{
	struct buffer text = {.bytes = NULL};
	struct url url;
	if (did_web_url(did, false, &text) == STATUS_OK) {
		bool is_below =
			text_ends_with(buffer_text(&text), TEXT("/did.json")) && text_find(buffer_text(&text), '?') == text.length;
		if (!is_below ||
			(url_parse(buffer_text(&text), &url) == STATUS_OK && !text_ends_with(url.path, TEXT("/did.json"))))
			abort();
	}
	buffer_free(&text);
}

/* The input: a DID, a line end, a document. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct text input = {(const char *)data, size};
	size_t end = text_find(input, '\n');
	struct text did = text_slice(input, 0, end), json = end < size ? text_slice(input, end + 1, size) : TEXT_NONE;
	struct did_document *document = NULL;
	check_url(did);
	if (!did_equals(did, did))
		abort();
	if (did_document_parse(json, did, &document) == STATUS_OK) {
		did_document_find(document, did);
		did_document_find(document, TEXT("#k"));
		did_document_free(document);
	}
	return 0;
}
