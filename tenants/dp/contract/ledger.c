/* Ledgers: from counts and tallies to what is stored. */
#include "tenants/dp/contract/ledger.h"

#include <stdlib.h>
#include <string.h>

enum { HISTORY_SPANS_FIRST = 8, HISTORY_SPANS_MAX = 256, HISTORIES_MAX = 4096, DROP_MAX = 1000 };

/* What a flow had been sent in receipts before, so that repeats are known. */
struct history {
	char tags[TALLY_ENTITIES_MAX][ENTITY_TAG_MAX + 1];
	unsigned next_tag; /* the oldest, to be replaced */
	struct span_set ranges;
};

/* Of a receipt's record. */
static void receipt_id(struct text cell, uint64_t sequence, char into[RECEIPT_ID_MAX + 1])
{
	size_t length = cell.length > CELL_NAME_MAX ? CELL_NAME_MAX : cell.length;
	memcpy(into, cell.bytes, length);
	into[length++] = '.';
	for (size_t i = 16; i-- > 0; sequence /= 10)
		into[length + i] = (char)('0' + sequence % 10);
	into[length + 16] = 0;
}

/* --- life */

struct ledger *ledger_new(struct text ctx)
{
	struct ledger *ledger = calloc(1, sizeof(*ledger));
	if (ledger == NULL)
		return NULL;
	ledger->accounts = map_new();
	ledger->histories = map_new();
	if (ledger->accounts == NULL || ledger->histories == NULL || ctx.length > ID_LENGTH) {
		ledger_free(ledger);
		return NULL;
	}
	memcpy(ledger->ctx, ctx.bytes, ctx.length);
	ledger->link = receipt_link_first;
	ledger->first_kept = 1;
	return ledger;
}

static bool free_account(void *context, struct text key, void *value)
{
	struct account *account = value;
	(void)context, (void)key;
	free(account->agreement);
	free(account);
	return true;
}

static bool free_history(void *context, struct text key, void *value)
{
	struct history *history = value;
	(void)context, (void)key;
	free(history->ranges.spans);
	free(history);
	return true;
}

void ledger_free(struct ledger *ledger)
{
	if (ledger == NULL)
		return;
	if (ledger->accounts != NULL)
		map_each(ledger->accounts, free_account, NULL);
	if (ledger->histories != NULL)
		map_each(ledger->histories, free_history, NULL);
	map_free(ledger->accounts);
	map_free(ledger->histories);
	while (ledger->tallies != NULL) {
		struct tally *tally = ledger->tallies;
		ledger->tallies = tally->next;
		tally_free(tally);
	}
	if (ledger->batch != NULL) {
		ledger->batch->ledger = NULL;
		batch_drop(ledger->batch);
	}
	free(ledger);
}

/* --- accounts */

static struct account *find_account(struct ledger *ledger, struct text agreement)
{
	struct account *account = map_find(ledger->accounts, agreement);
	if (account != NULL)
		return account;
	account = calloc(1, sizeof(*account));
	if (account == NULL)
		return NULL;
	account->agreement = text_copy(agreement);
	/* in place: this thread alone reads it */
	if (account->agreement == NULL || map_load(ledger->accounts, agreement, account) != STATUS_OK) {
		free(account->agreement);
		free(account);
		return NULL;
	}
	return account;
}

bool ledger_add(struct ledger *ledger, struct text agreement, const struct book_totals *more)
{
	struct account *account = find_account(ledger, agreement);
	if (account == NULL)
		return false;
	book_totals_add(&account->totals, more);
	if (!account->is_dirty) {
		account->is_dirty = true;
		account->next_dirty = ledger->dirty;
		ledger->dirty = account;
	}
	return true;
}

bool ledger_set(struct ledger *ledger, struct text agreement, const struct book_totals *totals)
{
	struct account *account = find_account(ledger, agreement);
	if (account != NULL)
		account->totals = *totals;
	return account != NULL;
}

/* --- tallies */

void ledger_take(struct ledger *ledger, struct tally *tally)
{
	for (struct tally *other = ledger->tallies; other != NULL; other = other->next) {
		if (!other->is_settled && strcmp(other->flow, tally->flow) == 0 &&
			strcmp(other->agreement, tally->agreement) == 0) {
			tally_merge(other, tally);
			tally_free(tally);
			return;
		}
	}
	tally->next = ledger->tallies;
	ledger->tallies = tally;
}

bool ledger_is_clean(const struct ledger *ledger)
{
	return ledger->dirty == NULL && ledger->tallies == NULL;
}

/* --- repeats */

static struct history *find_history(struct ledger *ledger, struct text flow)
{
	struct history *history = map_find(ledger->histories, flow);
	if (history != NULL)
		return history;
	if (map_count(ledger->histories) >= HISTORIES_MAX) { /* all is forgotten at once: repeats are a lower bound */
		struct map *fresh = map_new();
		if (fresh == NULL)
			return NULL;
		map_each(ledger->histories, free_history, NULL);
		map_free(ledger->histories);
		ledger->histories = fresh;
	}
	history = calloc(1, sizeof(*history));
	if (history != NULL && map_load(ledger->histories, flow, history) != STATUS_OK) {
		free(history);
		history = NULL;
	}
	return history;
}

static uint32_t find_tag(struct history *history, const char *tag)
{
	for (uint32_t i = 0; i < TALLY_ENTITIES_MAX; i++) {
		if (strcmp(history->tags[i], tag) == 0)
			return i;
	}
	uint32_t oldest = history->next_tag;
	history->next_tag = (oldest + 1) % TALLY_ENTITIES_MAX;
	span_set_drop(&history->ranges, oldest);
	memcpy(history->tags[oldest], tag, strlen(tag) + 1);
	return oldest;
}

static bool make_room(struct span_set *set)
{
	if (set->count < set->room || set->room >= HISTORY_SPANS_MAX)
		return true;
	size_t room = set->room == 0 ? HISTORY_SPANS_FIRST : set->room * 2;
	struct span *spans = realloc(set->spans, room * sizeof(*spans));
	if (spans == NULL)
		return false;
	set->spans = spans;
	set->room = room;
	return true;
}

/* Bytes of the tally that the flow had been sent before it. */
static uint64_t count_repeats(struct ledger *ledger, const struct tally *tally)
{
	struct history *history = tally->ranges.count == 0 ? NULL : find_history(ledger, text_of(tally->flow));
	uint64_t repeats = 0;
	for (size_t i = 0; history != NULL && i < tally->ranges.count; i++) {
		const struct span *span = &tally->ranges.spans[i];
		bool is_kept;
		if (!make_room(&history->ranges))
			break;
		uint32_t tag = find_tag(history, tally->entities[span->entity].tag);
		repeats += span_set_add(&history->ranges, tag, span->first, span->end, &is_kept);
	}
	return repeats;
}

/* --- batches */

struct batch *batch_of(struct message *message)
{
	size_t offset = message->kind == MESSAGE_SIGNED ? offsetof(struct batch, signing) : offsetof(struct batch, storing);
	return (struct batch *)(void *)((char *)message - offset);
}

void batch_drop(struct batch *batch)
{
	if (batch == NULL || atomic_fetch_sub_explicit(&batch->holders, 1, memory_order_acq_rel) != 1)
		return;
	for (size_t i = 0; i < batch->paper_count; i++) {
		buffer_free(&batch->papers[i].receipt);
		buffer_free(&batch->papers[i].token);
	}
	for (size_t i = 0; i < batch->put_count; i++) {
		buffer_free(&batch->puts[i].id);
		buffer_free(&batch->puts[i].body);
	}
	free(batch->papers);
	free(batch->puts);
	free(batch);
}

static struct batch *batch_new(const struct ledger *ledger)
{
	size_t papers = 0, puts = 1; /* the chain's end */
	for (const struct tally *tally = ledger->tallies; tally != NULL; tally = tally->next)
		papers++;
	for (const struct account *account = ledger->dirty; account != NULL; account = account->next_dirty)
		puts++;
	struct batch *batch = calloc(1, sizeof(*batch));
	if (batch == NULL)
		return NULL;
	atomic_store_explicit(&batch->holders, 1, memory_order_relaxed);
	memcpy(batch->ctx, ledger->ctx, sizeof(batch->ctx));
	batch->papers = calloc(papers + 1, sizeof(*batch->papers));
	batch->puts = calloc(puts, sizeof(*batch->puts));
	if (batch->papers == NULL || batch->puts == NULL) {
		batch_drop(batch);
		return NULL;
	}
	return batch;
}

/* Repeats are known now; they are of the books as of the receipt. */
static bool settle_repeats(struct ledger *ledger)
{
	for (struct tally *tally = ledger->tallies; tally != NULL; tally = tally->next) {
		struct book_totals repeats = {0};
		enum book_entry entry = tally->totals.of[BOOK_PUSHED] > 0 ? BOOK_REPUSHED : BOOK_REPEATED;
		if (tally->is_settled)
			continue;
		uint64_t sum = tally->totals.of[BOOK_REPEATED] + count_repeats(ledger, tally);
		tally->totals.of[BOOK_REPEATED] = 0;
		tally->totals.of[entry] = repeats.of[entry] = sum;
		tally->is_settled = true;
		if (!ledger_add(ledger, text_of(tally->agreement), &repeats))
			return false;
	}
	return true;
}

static bool add_papers(struct batch *batch, const struct ledger *ledger, struct text cell, struct receipt_link *link)
{
	for (const struct tally *tally = ledger->tallies; tally != NULL; tally = tally->next) {
		struct paper *paper = &batch->papers[batch->paper_count++];
		receipt_print(tally, cell, link, &paper->receipt);
		if (paper->receipt.failed || !receipt_advance(link, buffer_text(&paper->receipt)))
			return false;
		paper->link = *link;
	}
	return true;
}

static bool add_accounts(struct batch *batch, const struct ledger *ledger, struct text cell)
{
	for (const struct account *account = ledger->dirty; account != NULL; account = account->next_dirty) {
		struct book_entry_change *put = &batch->puts[batch->put_count++];
		buffer_printf(&put->id, "%s#%.*s", account->agreement, TEXT_ARGUMENTS(cell));
		buffer_append_byte(&put->body, '{');
		book_totals_print(&account->totals, &put->body);
		buffer_append_byte(&put->body, '}');
		if (put->id.failed || put->body.failed)
			return false;
	}
	return true;
}

static bool add_link(
	struct batch *batch, struct ledger *ledger, struct text cell, const struct receipt_link *link, uint64_t kept)
{
	struct book_entry_change *put = &batch->puts[batch->put_count++];
	batch->drop_from = batch->drop_end = ledger->first_kept;
	if (link->sequence > kept && link->sequence - kept + 1 > ledger->first_kept)
		batch->drop_end = link->sequence - kept + 1;
	if (batch->drop_end - batch->drop_from > DROP_MAX)
		batch->drop_end = batch->drop_from + DROP_MAX;
	buffer_printf(&put->id, "#%.*s", TEXT_ARGUMENTS(cell));
	buffer_printf(&put->body, "{\"sequence\":%llu,\"hash\":\"%s\",\"firstKept\":%llu}",
		(unsigned long long)link->sequence, link->hash, (unsigned long long)batch->drop_end);
	return !put->id.failed && !put->body.failed;
}

static void clear(struct ledger *ledger)
{
	for (struct account *account = ledger->dirty; account != NULL; account = account->next_dirty)
		account->is_dirty = false;
	ledger->dirty = NULL;
	while (ledger->tallies != NULL) {
		struct tally *tally = ledger->tallies;
		ledger->tallies = tally->next;
		tally_free(tally);
	}
}

bool ledger_make_batch(struct ledger *ledger, struct text cell, bool has_receipts, uint64_t kept, uint64_t now_ms)
{
	struct receipt_link link = ledger->link;
	if (!settle_repeats(ledger))
		return false;
	struct batch *batch = batch_new(ledger);
	if (batch == NULL)
		return false;
	if ((has_receipts && !add_papers(batch, ledger, cell, &link)) || !add_accounts(batch, ledger, cell) ||
		(batch->paper_count > 0 && !add_link(batch, ledger, cell, &link, kept))) {
		batch_drop(batch);
		return false;
	}
	batch->state = batch->paper_count > 0 ? BATCH_SIGNING : BATCH_READY;
	batch->signing_since_ms = now_ms;
	batch->ledger = ledger;
	ledger->batch = batch;
	ledger->link = link;
	if (batch->paper_count > 0)
		ledger->first_kept = batch->drop_end;
	clear(ledger);
	return true;
}

static bool put_papers(struct transaction *transaction, const struct batch *batch, struct text cell)
{
	char id[RECEIPT_ID_MAX + 1];
	struct buffer line = {0};
	bool is_put = true;
	for (size_t i = 0; i < batch->paper_count && is_put; i++) {
		const struct paper *paper = &batch->papers[i];
		buffer_clear(&line);
		receipt_line_print(&paper->link, buffer_text(&paper->receipt),
			batch->is_signed && i < batch->signed_count ? buffer_text(&paper->token) : TEXT_NONE, &line);
		receipt_id(cell, paper->link.sequence, id);
		is_put = !line.failed && transaction_put(transaction, text_of(batch->ctx), RECORD_RECEIPT, text_of(id),
									 buffer_text(&line), REVISION_ANY);
	}
	buffer_free(&line);
	return is_put;
}

struct transaction *batch_transaction(const struct batch *batch, struct text cell)
{
	struct transaction *transaction = transaction_new();
	char id[RECEIPT_ID_MAX + 1];
	bool is_made = transaction != NULL && put_papers(transaction, batch, cell);
	for (size_t i = 0; i < batch->put_count && is_made; i++)
		is_made = transaction_put(transaction, text_of(batch->ctx), RECORD_BOOK, buffer_text(&batch->puts[i].id),
			buffer_text(&batch->puts[i].body), REVISION_ANY);
	for (uint64_t i = batch->drop_from; i < batch->drop_end && is_made; i++) {
		receipt_id(cell, i, id);
		is_made = transaction_delete(transaction, text_of(batch->ctx), RECORD_RECEIPT, text_of(id), REVISION_ANY);
	}
	if (is_made)
		return transaction;
	transaction_free(transaction);
	return NULL;
}
