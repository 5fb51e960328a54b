/* One management call of the data plane: what it names, and its answer after the store or the vault has finished. */
#pragma once

#include "server/answer.h"
#include "tenants/dp/state.h"

struct operation;

struct endpoint {
	const char *method, *resource;
	unsigned segments; /* behind the ctx: resource, id, verb, token */
	const char *verb;  /* third segment; NULL: none or any */
	enum access_action action;
	bool has_body;
	void (*run)(struct operation *operation, struct text body);
};

/* Freed when both the exchange and what it waits for are over. */
struct operation {
	struct dp *dp;
	struct worker *worker;
	struct exchange *exchange; /* NULL: the caller has gone */
	const struct endpoint *endpoint;
	bool is_pending;
	struct text ctx, id, verb, token; /* into `names` */
	char *names;
	int status;           /* of the answer when all goes well */
	struct buffer answer; /* JSON; empty: none */
	struct buffer needle; /* of a page of receipts: what each must hold */
	size_t page;
	bool is_renewable;               /* of a token to be made: with a refresh token */
	struct transaction *transaction; /* what goes with it */
};

/* Takes the path over as `names`. NULL: it has answered. */
struct operation *operation_new(struct dp *dp, struct exchange *exchange, struct buffer *names);
/* The row that resource, number of segments and the method lead to; NULL: it has answered 404, or 405 with Allow. */
const struct endpoint *endpoint_find(const struct operation *operation, const struct endpoint *table, size_t count,
	struct text resource, unsigned segments);
void operation_answer(struct operation *operation, int status);
/* `what` NULL: no detail. */
void operation_refuse(struct operation *operation, int status, const char *what);
/* Takes the transaction over (NULL: out of memory), answers operation->status once every worker sees the change. */
void operation_submit(struct operation *operation, struct transaction *transaction);
/* A store_submit's completion, where another submits for the operation. */
void operation_stored(void *operation, enum status status, int64_t revision);
/* Ends waiting; false when the caller has gone and the operation with it. */
bool operation_resumes(struct operation *operation);

/* the calls, by file: manage_agreements.c, manage_receipts.c, manage_datasets.c, manage_flows.c, manage_tokens.c,
 * manage.c */
void agreements_list(struct operation *operation, struct text body);
void agreements_show(struct operation *operation, struct text body);
void agreements_put(struct operation *operation, struct text body);
void agreements_delete(struct operation *operation, struct text body);
void agreements_book(struct operation *operation, struct text body);
void receipts_list(struct operation *operation, struct text body);
void datasets_list(struct operation *operation, struct text body);
void datasets_show(struct operation *operation, struct text body);
void datasets_put(struct operation *operation, struct text body);
void datasets_delete(struct operation *operation, struct text body);
void flows_list(struct operation *operation, struct text body);
void flows_show(struct operation *operation, struct text body);
void flows_create(struct operation *operation, struct text body);
void flows_move(struct operation *operation, struct text body);
void flows_delete(struct operation *operation, struct text body);
void tokens_create(struct operation *operation, struct text body);
void tokens_revoke(struct operation *operation, struct text body);
void keys_put(struct operation *operation, struct text body);
void secrets_put(struct operation *operation, struct text body);
void secrets_delete(struct operation *operation, struct text body);

/* Sorted by id, cut by offset and limit of the query, printed as an array. */
void manage_list(struct operation *operation, enum dp_map map, void (*print)(const void *value, struct buffer *into));
/* Parses a body; on failure it has answered 400 and returns NULL. */
struct json *manage_parse(struct operation *operation, struct text body);
bool manage_is_reserved(const struct operation *operation, struct text alias);
enum { MANAGE_ID_MAX = 128 };
