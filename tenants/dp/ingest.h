/* The consumer's side of a push: POST or PUT /api/ingest/{ctx}/{flow}[/path] with a token of the flow takes an object,
 * or a segment of it (Content-Range), into the flow's sink; HEAD tells how much is there (Upload-Offset). The protocol
 * is that of push.h. Only for push flows of consumers, while they are PREPARED or STARTED. */
#pragma once

#include "tenants/dp/dp.h"

/* The DataAddress that tells the provider where to push to: `public_url` is what stands before /api, without a final
 * slash; `profile` the flow's; `token` an access token of the flow (access_claims.h). */
enum status ingest_address_print(struct text public_url, struct text profile, struct text ctx, struct text flow_id,
	struct text token, struct buffer *into) MUST_CHECK;
