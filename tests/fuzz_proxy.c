/* Any bytes as a PROXY header: no read past the end, and no more used than given. */
#include <stdlib.h>
#include <string.h>

#include "server/proxy_protocol.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
	struct proxy_header header;
	size_t used;
	if (proxy_parse(bytes, length, &header, &used) != STATUS_OK || used == 0)
		return 0;
	if (used > length || used > PROXY_HEADER_LIMIT ||
		(!header.local && header.source.ss_family != AF_INET && header.source.ss_family != AF_INET6))
		abort();
	return 0;
}
