/* Agreements: their records, totals, and the reserving of what is limited. */
#include "tenants/dp/contract/agreement.h"

#include <stdlib.h>
#include <string.h>

/* --- totals */

static const char *const entry_names[] = {
#define ENTRY_NAME(name, text) text,
	BOOK_ENTRY_LIST(ENTRY_NAME)
#undef ENTRY_NAME
};

void book_totals_add(struct book_totals *to, const struct book_totals *more)
{
	for (int i = 0; i < BOOK_ENTRY_COUNT; i++)
		to->of[i] += more->of[i];
}

void book_totals_print(const struct book_totals *totals, struct buffer *into)
{
	for (int i = 0; i < BOOK_ENTRY_COUNT; i++) {
		buffer_printf(into, "%s\"%s\":", i == 0 ? "" : ",", entry_names[i]);
		buffer_append_number(into, (int64_t)totals->of[i]);
	}
}

void book_totals_read(const struct json *object, struct book_totals *totals)
{
	for (int i = 0; i < BOOK_ENTRY_COUNT; i++) {
		int64_t value = 0;
		bool is_read = json_integer(json_member(object, entry_names[i]), &value) && value >= 0;
		totals->of[i] = is_read ? (uint64_t)value : 0;
	}
}

/* --- the record */

static const struct json *policy_of(const struct json *body)
{
	static const char *const names[] = {"policy", "edc:policy", "https://w3id.org/edc/v0.0.1/ns/policy"};
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		const struct json *policy = json_member(body, names[i]);
		if (policy != NULL)
			return json_kind(policy) == JSON_ARRAY && json_count(policy) == 1 ? json_first(policy) : policy;
	}
	return NULL;
}

enum status agreement_terms_parse(const struct json *body, struct agreement_terms **terms, struct buffer *error)
{
	int64_t signed_s = 0;
	const struct json *date = json_member(body, "contractSigningDate"), *policy = policy_of(body);
	if (policy == NULL) {
		buffer_printf(error, "policy: is missing");
		return STATUS_INVALID;
	}
	if (date != NULL && (!json_integer(date, &signed_s) || signed_s < 0 || signed_s > INT64_C(253402300799))) {
		buffer_printf(error, "contractSigningDate: must be seconds since 1970 as an integer");
		return STATUS_INVALID;
	}
	struct agreement_terms *made = calloc(1, sizeof(*made));
	struct buffer text = {0};
	if (made == NULL)
		return STATUS_NO_MEMORY;
	enum status status = policy_compile(policy, signed_s * 1000, &made->policy, error);
	json_print(body, &text);
	if (status == STATUS_OK && text.failed)
		status = STATUS_NO_MEMORY;
	if (status != STATUS_OK) {
		buffer_free(&text);
		agreement_terms_free(made);
		return status;
	}
	made->body = buffer_take(&text);
	*terms = made;
	return STATUS_OK;
}

struct agreement_terms *agreement_terms_deny(void)
{
	struct agreement_terms *terms = calloc(1, sizeof(*terms));
	if (terms != NULL)
		terms->policy = policy_deny();
	if (terms == NULL || terms->policy == NULL || (terms->body = text_copy(TEXT("{}"))) == NULL) {
		agreement_terms_free(terms);
		return NULL;
	}
	return terms;
}

void agreement_terms_free(void *object)
{
	struct agreement_terms *terms = object;
	if (terms == NULL)
		return;
	policy_free(terms->policy);
	free(terms->body);
	free(terms);
}

/* --- life */

struct agreement *agreement_new(struct text ctx, struct text id, unsigned workers)
{
	struct agreement *agreement = aligned_alloc(_Alignof(struct agreement), sizeof(*agreement));
	if (agreement == NULL)
		return NULL;
	memset(agreement, 0, sizeof(*agreement));
	agreement->lane_count = workers;
	agreement->id = text_copy(id);
	atomic_store_explicit(&agreement->holders, 1, memory_order_relaxed);
	if (agreement->id == NULL || ctx.length > ID_LENGTH) {
		agreement_drop(agreement);
		return NULL;
	}
	memcpy(agreement->ctx, ctx.bytes, ctx.length);
	return agreement;
}

bool agreement_make_lanes(struct agreement *agreement)
{
	if (atomic_load_explicit(&agreement->lanes, memory_order_relaxed) != NULL)
		return true;
	size_t size = agreement->lane_count * sizeof(struct agreement_lane);
	struct agreement_lane *lanes = aligned_alloc(_Alignof(struct agreement_lane), size);
	if (lanes == NULL)
		return false;
	memset(lanes, 0, size);
	for (unsigned i = 0; i < agreement->lane_count; i++)
		lanes[i].agreement = agreement;
	atomic_store_explicit(&agreement->lanes, lanes, memory_order_release);
	return true;
}

void agreement_hold(struct agreement *agreement)
{
	atomic_fetch_add_explicit(&agreement->holders, 1, memory_order_relaxed);
}

void agreement_drop(void *object)
{
	struct agreement *agreement = object;
	if (agreement == NULL || atomic_fetch_sub_explicit(&agreement->holders, 1, memory_order_acq_rel) != 1)
		return;
	agreement_terms_free(atomic_load_explicit(&agreement->terms, memory_order_acquire));
	while (agreement->slots != NULL) {
		struct book_slot *slot = agreement->slots;
		agreement->slots = slot->next;
		free(slot->cell);
		free(slot);
	}
	free(atomic_load_explicit(&agreement->lanes, memory_order_acquire));
	free(agreement->id);
	free(agreement);
}

/* --- books */

static struct book_slot *find_slot(struct agreement *agreement, struct text cell)
{
	for (struct book_slot *slot = agreement->slots; slot != NULL; slot = slot->next) {
		if (text_equals(text_of(slot->cell), cell))
			return slot;
	}
	struct book_slot *slot = calloc(1, sizeof(*slot));
	char *name = text_copy(cell);
	if (slot == NULL || name == NULL) {
		free(slot);
		free(name);
		return NULL;
	}
	slot->cell = name;
	slot->next = agreement->slots;
	agreement->slots = slot;
	return slot;
}

static uint64_t bytes_of(const struct book_totals *totals)
{
	return totals->of[BOOK_BYTES] + totals->of[BOOK_PUSHED];
}

enum status agreement_book(
	struct agreement *agreement, struct text cell, const struct book_totals *totals, bool is_counted)
{
	struct book_slot *slot = find_slot(agreement, cell);
	if (slot == NULL)
		return STATUS_NO_MEMORY;
	for (int i = 0; i < BOOK_ENTRY_COUNT; i++)
		atomic_fetch_add_explicit(&agreement->booked[i], totals->of[i] - slot->totals.of[i],
			memory_order_relaxed); /* may wrap: it is a sum */
	if (!is_counted) {
		atomic_fetch_add_explicit(&agreement->bytes, bytes_of(totals) - bytes_of(&slot->totals), memory_order_relaxed);
		atomic_fetch_add_explicit(
			&agreement->uses, totals->of[BOOK_USES] - slot->totals.of[BOOK_USES], memory_order_relaxed);
	}
	slot->totals = *totals;
	return STATUS_OK;
}

void agreement_forget_book(struct agreement *agreement, struct text cell)
{
	static const struct book_totals none;
	if (agreement_book(agreement, cell, &none, false) != STATUS_OK)
		return;
	for (struct book_slot **at = &agreement->slots; *at != NULL; at = &(*at)->next) {
		struct book_slot *slot = *at;
		if (!text_equals(text_of(slot->cell), cell))
			continue;
		*at = slot->next;
		free(slot->cell);
		free(slot);
		return;
	}
}

/* --- on a worker */

struct agreement_lane *agreement_lane(const struct agreement *agreement, unsigned worker)
{
	return &atomic_load_explicit(&agreement->lanes, memory_order_acquire)[worker];
}

uint64_t agreement_bytes(const struct agreement *agreement, const struct agreement_lane *lane)
{
	uint64_t reserved = atomic_load_explicit(&agreement->bytes, memory_order_relaxed) + lane->unreserved_bytes;
	return reserved > lane->credit ? reserved - lane->credit : 0;
}

bool agreement_lend(struct agreement *agreement, struct agreement_lane *lane, uint64_t limit)
{
	uint64_t used = atomic_load_explicit(&agreement->bytes, memory_order_relaxed), part;
	do {
		uint64_t left = limit > used ? limit - used : 0;
		if (left == 0)
			return false;
		/* near the end little is lent, so that little is idle on a worker when another asks */
		part = left / (2 * (uint64_t)agreement->lane_count);
		part = part > CREDIT_MAX ? CREDIT_MAX : part < CREDIT_MIN ? CREDIT_MIN : part;
		part = part > left ? left : part;
	} while (!atomic_compare_exchange_weak_explicit(
		&agreement->bytes, &used, used + part, memory_order_relaxed, memory_order_relaxed));
	lane->credit += part;
	return true;
}

void agreement_return(struct agreement *agreement, struct agreement_lane *lane)
{
	if (lane->credit == 0)
		return;
	atomic_fetch_sub_explicit(&agreement->bytes, lane->credit, memory_order_relaxed);
	lane->credit = 0;
}

bool agreement_use(struct agreement *agreement, uint64_t limit, uint64_t *before)
{
	uint64_t uses = atomic_load_explicit(&agreement->uses, memory_order_relaxed);
	do {
		if (uses >= limit)
			return false;
	} while (!atomic_compare_exchange_weak_explicit(
		&agreement->uses, &uses, uses + 1, memory_order_relaxed, memory_order_relaxed));
	*before = uses;
	return true;
}

void agreement_unuse(struct agreement *agreement)
{
	atomic_fetch_sub_explicit(&agreement->uses, 1, memory_order_relaxed);
}
