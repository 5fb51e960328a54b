/* In place of tenants/provider_keys.c, for programs without a client: no identity provider is asked. For one file of a
 * program alone. */
#pragma once

#include "tenants/provider_keys.h"

enum status provider_keys_open(struct worker_pool *of, const struct provider_source *source,
	enum status (*take)(void *context, struct text jwks, struct text issuer, struct buffer *error), void *context,
	struct provider_keys **keys)
{
	(void)of, (void)source, (void)take, (void)context, (void)keys;
	return STATUS_UNAVAILABLE;
}

void provider_keys_ask(struct provider_keys *keys)
{
	(void)keys;
}

void provider_keys_free(struct provider_keys *keys)
{
	(void)keys;
}
