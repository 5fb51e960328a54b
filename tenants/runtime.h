/* A runtime serves every VPA of one type. The router finds the tenant and hands the exchange over with its route. */
#pragma once

#include "server/exchange.h"
#include "tenants/participant.h"

/* Borrowed until the handler returns, but for `rest`, which lives as long as the exchange. */
struct route {
	const struct participant *participant; /* NULL on routes without a ctx */
	struct text rest;                      /* canonical path behind the ctx: "" or "/..." */
};

struct runtime {
	const char *name; /* "dp", "cp" */
	void (*handle)(void *context, struct exchange *exchange, const struct route *route);
	void *context;
};
