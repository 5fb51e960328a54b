/* Transactions: what is wished, in the order of the wishes. */
#include "tenants/store/transaction.h"

#include <stdlib.h>
#include <string.h>

enum { TEXTS_ROOM = 4000 };

/* Copies of texts, one behind the other. */
struct transaction_texts {
	struct transaction_texts *next;
	size_t used, room;
	char bytes[];
};

struct transaction *transaction_new(void)
{
	return calloc(1, sizeof(struct transaction));
}

void transaction_free(struct transaction *transaction)
{
	if (transaction == NULL)
		return;
	while (transaction->texts != NULL) {
		struct transaction_texts *next = transaction->texts->next;
		free(transaction->texts);
		transaction->texts = next;
	}
	free(transaction->changes);
	free(transaction);
}

/* Room for the texts of one change; the first is small, since most transactions are. */
static bool reserve(struct transaction *transaction, size_t length)
{
	struct transaction_texts *texts = transaction->texts;
	if (texts != NULL && texts->room - texts->used >= length)
		return true;
	size_t room = texts != NULL && length < TEXTS_ROOM ? TEXTS_ROOM : length;
	struct transaction_texts *more = malloc(sizeof(*more) + room);
	if (more == NULL)
		return false;
	*more = (struct transaction_texts){.next = texts, .room = room};
	transaction->texts = more;
	return true;
}

static struct text copy(struct transaction_texts *texts, struct text text)
{
	if (text.bytes == NULL)
		return TEXT_NONE;
	char *start = texts->bytes + texts->used;
	memcpy(start, text.bytes, text.length);
	texts->used += text.length;
	return (struct text){start, text.length};
}

static bool add(struct transaction *transaction, struct change wish)
{
	if (transaction->count == transaction->room) {
		size_t room = transaction->room == 0 ? 4 : transaction->room * 2;
		struct change *more = realloc(transaction->changes, room * sizeof(*more));
		if (more == NULL)
			return false;
		transaction->changes = more;
		transaction->room = room;
	}
	if (!reserve(transaction, wish.ctx.length + wish.id.length + wish.body.length))
		return false;
	struct change *change = &transaction->changes[transaction->count++];
	*change = wish;
	change->ctx = copy(transaction->texts, wish.ctx);
	change->id = copy(transaction->texts, wish.id);
	change->body = copy(transaction->texts, wish.body);
	return true;
}

bool transaction_put(struct transaction *transaction, struct text ctx, enum record_kind kind, struct text id,
	struct text body, int64_t expected)
{
	return add(transaction,
		(struct change){.kind = CHANGE_PUT, .record = kind, .ctx = ctx, .id = id, .body = body, .expected = expected});
}

bool transaction_delete(
	struct transaction *transaction, struct text ctx, enum record_kind kind, struct text id, int64_t expected)
{
	return add(transaction,
		(struct change){.kind = CHANGE_DELETE, .record = kind, .ctx = ctx, .id = id, .expected = expected});
}

bool transaction_expect(
	struct transaction *transaction, struct text ctx, enum record_kind kind, struct text id, int64_t expected)
{
	return add(transaction,
		(struct change){.kind = CHANGE_EXPECT, .record = kind, .ctx = ctx, .id = id, .expected = expected});
}

bool transaction_delete_ctx(struct transaction *transaction, struct text ctx)
{
	return add(transaction, (struct change){.kind = CHANGE_DELETE_CTX, .ctx = ctx});
}

bool transaction_is_text(const struct transaction *transaction)
{
	for (size_t i = 0; i < transaction->count; i++) {
		const struct text texts[] = {
			transaction->changes[i].ctx, transaction->changes[i].id, transaction->changes[i].body};
		for (size_t j = 0; j < sizeof(texts) / sizeof(texts[0]); j++) {
			if (texts[j].length > 0 && memchr(texts[j].bytes, 0, texts[j].length) != NULL)
				return false;
		}
	}
	return true;
}

void transaction_complete(struct task *task)
{
	struct transaction *transaction = (struct transaction *)task;
	transaction->done(transaction->context, transaction->status, transaction->revision);
	transaction_free(transaction);
}
