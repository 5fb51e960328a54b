/* A transaction's inside: private to this folder. */
#pragma once

#include "tenants/store/backend.h"

struct transaction_texts;
struct transaction {
	struct task task; /* first: its completion on a worker */
	struct transaction *next;
	struct change *changes;
	size_t count, room;
	struct transaction_texts *texts; /* of the changes: the newest first */
	struct worker *worker;
	void (*done)(void *context, enum status status, int64_t revision);
	void *context;
	enum status status;
	int64_t revision;
	bool is_text; /* as transaction_is_text has found */
};

/* A zero byte is no text in PostgreSQL, so it is none in any store. */
bool transaction_is_text(const struct transaction *transaction);
/* Tells whoever submitted it, and frees it. As a task: on its worker. */
void transaction_complete(struct task *task);
