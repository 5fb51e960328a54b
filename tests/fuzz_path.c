/* Any bytes as a path: what has a canonical form keeps it, and the form has nothing left to argue about. */
#include <stdlib.h>
#include <string.h>

#include "server/path.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
	struct text path = {(const char *)bytes, length}, canonical, again, segment, decoded;
	char *first = malloc(length + 1), *second = malloc(length + 1);
	if (first == NULL || second == NULL)
		abort();
	if (path_canonical(path, first, length, &canonical) == STATUS_OK) {
		if (path_canonical(canonical, second, length, &again) != STATUS_OK || !text_equals(canonical, again))
			abort();
		for (struct text rest = canonical; path_next(&rest, &segment);) {
			if (percent_decode(segment, second, segment.length, &decoded) != STATUS_OK ||
				text_equals(decoded, TEXT("..")) || text_equals(decoded, TEXT(".")) ||
				memchr(second, '/', decoded.length) != NULL || memchr(second, '\\', decoded.length) != NULL)
				abort();
		}
	}
	free(first);
	free(second);
	return 0;
}
