/* Whatever a store sends: nothing beyond the input is read, every text found fits and lies inside it. */
#include <stdlib.h>
#include <string.h>

#include "tenants/dp/source/s3_xml.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *copy = malloc(size + 1); /* exactly sized: overreads are seen */
	if (copy == NULL)
		return 0;
	memcpy(copy, data, size);
	struct text rest = {copy, size}, part;
	while (s3_xml_next(&rest, "Part", &part)) {
		char tag[16];
		int64_t number;
		if (part.bytes < copy || part.bytes + part.length > copy + size)
			abort();
		if (s3_xml_text(part, "ETag", tag, sizeof(tag)) && strlen(tag) >= sizeof(tag))
			abort();
		if (s3_xml_number(part, "Size", &number) && number < 0)
			abort();
	}
	free(copy);
	return 0;
}
