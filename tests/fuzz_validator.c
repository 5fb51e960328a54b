/* Any bytes as a list of tags: what passes is a list of valid tags, each of which, bound again, was in it. */
#include <stdlib.h>

#include "server/etag.h"
#include "tenants/dp/source/validator.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
	static const char binding[] = "0123456789abcdef";
	struct text list = {(const char *)bytes, length};
	struct buffer passed = {0}, bound = {0};
	if (tags_unbind(binding, list, &passed) != (passed.length > 0))
		abort();
	if (passed.length > 0 && !passed.failed && etag_is_valid(buffer_text(&passed))) {
		if (!tag_bind(binding, buffer_text(&passed), &bound) ||
			!(if_none_match(list, buffer_text(&bound)) || text_equals(text_trim(list), TEXT("*"))))
			abort();
	}
	buffer_clear(&bound);
	if (tag_bind(binding, list, &bound) && !etag_is_valid(buffer_text(&bound)))
		abort();
	buffer_free(&passed);
	buffer_free(&bound);
	return 0;
}
