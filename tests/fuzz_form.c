/* Forms: what is found has neither more bytes than the form nor a NUL. */
#include <stdlib.h>
#include <string.h>

#include "tenants/dp/form.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char room[512];
	struct text value;
	if (form_find((struct text){(const char *)data, size}, TEXT("a"), room, sizeof(room), &value) == STATUS_OK &&
		value.length > 0 && (value.length > size || memchr(value.bytes, 0, value.length) != NULL))
		abort();
	return 0;
}
