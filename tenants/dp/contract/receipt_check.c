/* Checking receipts, with nothing but their lines. */
#include <stdlib.h>
#include <string.h>

#include "tenants/dp/contract/receipt.h"
#include "tenants/jose/jws.h"

enum { KEYS_MAX = 32, CHAINS_MAX = 64, DEPTH_MAX = 32, NAME_MAX_LENGTH = 128, LINE_MAX_BYTES = 65536 };

/* The receipts of one cell and participant. */
struct chain {
	char *ctx, *cell;
	struct receipt_link link;
	uint64_t first, count, unsigned_count; /* the last: since the last signature */
	uint64_t bytes;
};

struct receipt_check {
	struct key *trusted;
	struct key *keys[KEYS_MAX];
	size_t key_count;
	bool used[KEYS_MAX];
	struct chain chains[CHAINS_MAX];
	size_t chain_count;
	char *flow; /* an export of one flow: what lies between is not there */
	uint64_t line;
};

struct receipt_check *receipt_check_new(struct key *trusted)
{
	struct receipt_check *check = calloc(1, sizeof(*check));
	if (check != NULL && trusted != NULL) {
		key_ref(trusted);
		check->trusted = trusted;
	}
	return check;
}

void receipt_check_free(struct receipt_check *check)
{
	if (check == NULL)
		return;
	key_free(check->trusted);
	for (size_t i = 0; i < check->key_count; i++)
		key_free(check->keys[i]);
	for (size_t i = 0; i < check->chain_count; i++) {
		free(check->chains[i].ctx);
		free(check->chains[i].cell);
	}
	free(check->flow);
	free(check);
}

static enum status wrong(struct buffer *problem, const char *what)
{
	buffer_printf(problem, "%s", what);
	return STATUS_INVALID;
}

/* --- the canonical text (RFC 8785), of whole numbers, texts, arrays and objects */

struct member {
	const struct json *json;
};

static int by_name(const void *a, const void *b)
{
	return strcmp(json_name(((const struct member *)a)->json), json_name(((const struct member *)b)->json));
}

static bool print_canonical(const struct json *node, struct buffer *into, unsigned depth);

static bool print_object(const struct json *node, struct buffer *into, unsigned depth)
{
	size_t count = 0;
	struct member *members = calloc(json_count(node) + 1, sizeof(*members));
	if (members == NULL)
		return false;
	for (const struct json *member = json_first(node); member != NULL; member = json_next(member))
		members[count++].json = member;
	qsort(members, count, sizeof(*members), by_name);
	bool is_printed = true;
	buffer_append_byte(into, '{');
	for (size_t i = 0; i < count && is_printed; i++) {
		if (i > 0)
			buffer_append_byte(into, ',');
		buffer_append_json(into, text_of(json_name(members[i].json)));
		buffer_append_byte(into, ':');
		is_printed = print_canonical(members[i].json, into, depth + 1);
	}
	buffer_append_byte(into, '}');
	free(members);
	return is_printed;
}

/* False: something a receipt does not hold. */
static bool print_canonical(const struct json *node, struct buffer *into, unsigned depth)
{
	int64_t number;
	bool is_printed = depth < DEPTH_MAX;
	if (!is_printed)
		return false;
	if (json_text(node).bytes != NULL) {
		buffer_append_json(into, json_text(node));
	} else if (json_integer(node, &number)) {
		buffer_append_number(into, number);
	} else if (json_kind(node) == JSON_OBJECT) {
		return print_object(node, into, depth);
	} else if (json_kind(node) == JSON_ARRAY) {
		buffer_append_byte(into, '[');
		for (const struct json *item = json_first(node); item != NULL && is_printed; item = json_next(item)) {
			if (item != json_first(node))
				buffer_append_byte(into, ',');
			is_printed = print_canonical(item, into, depth + 1);
		}
		buffer_append_byte(into, ']');
	} else {
		return false;
	}
	return is_printed;
}

/* --- signatures */

static struct key *find_key(struct receipt_check *check, struct text kid)
{
	if (check->trusted != NULL)
		return check->trusted;
	for (size_t i = 0; i < check->key_count; i++) {
		if (text_equals(key_id(check->keys[i]), kid)) {
			check->used[i] = true;
			return check->keys[i];
		}
	}
	return NULL;
}

/* detached: "header..signature" */
static enum status check_signature(
	struct receipt_check *check, struct text detached, struct text receipt, struct buffer *problem)
{
	struct jws jws;
	struct buffer token = {0}, ignored = {0};
	size_t dot = text_find(detached, '.');
	struct text rest = text_slice(detached, dot < detached.length ? dot + 2 : dot, detached.length);
	bool is_detached = dot + 1 < detached.length && detached.bytes[dot + 1] == '.' && rest.length > 0;
	if (!is_detached)
		return wrong(problem, "the signature is no detached JWS");
	/* the header is read with an empty payload, then what was signed is put together anew */
	buffer_append(&token, text_slice(detached, 0, dot));
	buffer_append(&token, TEXT(".e30."));
	buffer_append(&token, rest);
	enum status status = token.failed ? STATUS_NO_MEMORY : jws_parse(buffer_text(&token), &jws);
	if (status != STATUS_OK) {
		buffer_free(&token);
		return status == STATUS_NO_MEMORY ? status : wrong(problem, "the signature is no JWS");
	}
	const struct key *key = find_key(check, jws.kid);
	status = jws_input(TEXT(""), receipt, &ignored); /* "." and the payload */
	buffer_clear(&token);
	buffer_append(&token, text_slice(detached, 0, dot));
	if (status == STATUS_OK)
		buffer_append(&token, buffer_text(&ignored));
	jws.signing_input = buffer_text(&token);
	if (status == STATUS_OK && token.failed)
		status = STATUS_NO_MEMORY;
	else if (key == NULL)
		status = wrong(problem, "the key of the signature is not among the lines");
	else if (status == STATUS_OK && jws_verify(&jws, key) != STATUS_OK)
		status = wrong(problem, check->trusted != NULL ? "the signature was not made with the given key"
													   : "the signature does not fit the receipt");
	jws_free(&jws);
	buffer_free(&token);
	buffer_free(&ignored);
	return status;
}

/* --- the chain */

static struct chain *find_chain(struct receipt_check *check, struct text ctx, struct text cell)
{
	for (size_t i = 0; i < check->chain_count; i++) {
		struct chain *chain = &check->chains[i];
		if (text_equals(text_of(chain->ctx), ctx) && text_equals(text_of(chain->cell), cell))
			return chain;
	}
	if (check->chain_count == CHAINS_MAX)
		return NULL;
	struct chain *chain = &check->chains[check->chain_count];
	chain->ctx = text_copy(ctx);
	chain->cell = text_copy(cell);
	if (chain->ctx == NULL || chain->cell == NULL) {
		free(chain->ctx);
		free(chain->cell);
		*chain = (struct chain){.ctx = NULL};
		return NULL;
	}
	check->chain_count++;
	return chain;
}

static enum status check_place(struct receipt_check *check, struct chain *chain, const struct json *receipt,
	int64_t sequence, struct buffer *problem)
{
	struct text previous = json_member_text(receipt, "previous");
	bool is_next = (uint64_t)sequence == chain->link.sequence + 1;
	if (chain->count == 0) {
		chain->first = (uint64_t)sequence;
		if (sequence == 1 && !text_equals(previous, text_of(receipt_link_first.hash)))
			return wrong(problem, "the first receipt names one before it");
		return STATUS_OK;
	}
	if ((uint64_t)sequence <= chain->link.sequence)
		return wrong(problem, "the receipt is out of its order, or there twice");
	if (!is_next && check->flow == NULL)
		return wrong(problem, "receipts are missing before this one");
	if (is_next && !text_equals(previous, text_of(chain->link.hash)))
		return wrong(problem, "the receipt does not follow the one before it");
	return STATUS_OK;
}

static bool take_flow(const struct receipt_check *check, const struct json *receipt)
{
	return check->flow == NULL || text_equals(json_member_text(receipt, "flow"), text_of(check->flow));
}

static enum status check_receipt(struct receipt_check *check, const struct json *line, struct buffer *problem)
{
	const struct json *receipt = json_member(line, "receipt"), *signature = json_member(line, "signature");
	struct text ctx = json_member_text(receipt, "ctx"), cell = json_member_text(receipt, "cell");
	struct buffer canonical = {0};
	struct receipt_link link = {0};
	int64_t sequence = 0, bytes = 0;
	if (json_count(line) != 3 || ctx.length == 0 || cell.length == 0 || signature == NULL ||
		!json_integer(json_member(receipt, "sequence"), &sequence) || sequence < 1 ||
		!json_integer(json_member(receipt, "bytes"), &bytes) || !print_canonical(receipt, &canonical, 0)) {
		buffer_free(&canonical);
		return wrong(problem, "this is no receipt");
	}
	struct chain *chain = find_chain(check, ctx, cell);
	enum status status = chain == NULL || canonical.failed || !receipt_advance(&link, buffer_text(&canonical))
							 ? STATUS_NO_MEMORY
							 : STATUS_OK;
	if (status == STATUS_OK && !take_flow(check, receipt))
		status = wrong(problem, "the receipt is of another flow than was asked for");
	if (status == STATUS_OK && !text_equals(json_member_text(line, "hash"), text_of(link.hash)))
		status = wrong(problem, "the receipt does not have its hash: it was changed");
	if (status == STATUS_OK)
		status = check_place(check, chain, receipt, sequence, problem);
	if (status == STATUS_OK && json_kind(signature) != JSON_NULL)
		status = check_signature(check, json_text(signature), buffer_text(&canonical), problem);
	buffer_free(&canonical);
	if (status != STATUS_OK)
		return status;
	chain->link = (struct receipt_link){.sequence = (uint64_t)sequence};
	memcpy(chain->link.hash, link.hash, sizeof(link.hash));
	chain->count++;
	chain->bytes += (uint64_t)bytes;
	chain->unsigned_count = json_kind(signature) == JSON_NULL ? chain->unsigned_count + 1 : 0;
	if (chain->unsigned_count > 0 && check->flow != NULL)
		return wrong(problem, "the receipt is not signed, and those that would cover it are not there");
	return STATUS_OK;
}

/* --- lines */

static enum status take_key(struct receipt_check *check, const struct json *jwk, struct buffer *problem)
{
	struct buffer text = {0};
	if (check->trusted != NULL)
		return STATUS_OK; /* only the given one counts */
	if (check->key_count == KEYS_MAX)
		return wrong(problem, "too many keys");
	json_print(jwk, &text);
	enum status status =
		text.failed ? STATUS_NO_MEMORY : key_from_public_jwk(buffer_text(&text), &check->keys[check->key_count]);
	buffer_free(&text);
	if (status == STATUS_INVALID)
		return wrong(problem, "the key is no public JWK");
	if (status == STATUS_OK)
		check->key_count++;
	return status;
}

static enum status take_export(struct receipt_check *check, const struct json *export, struct buffer *problem)
{
	struct text flow = json_member_text(export, "flow");
	if (check->line != 1)
		return wrong(problem, "what was asked for must be said first");
	if (flow.bytes == NULL)
		return STATUS_OK;
	check->flow = text_copy(flow);
	return check->flow == NULL ? STATUS_NO_MEMORY : STATUS_OK;
}

enum status receipt_check_line(struct receipt_check *check, struct text line, struct buffer *problem)
{
	struct json *root = NULL;
	check->line++;
	if (line.length > LINE_MAX_BYTES)
		return wrong(problem, "the line is too long");
	enum status status = json_parse(line, NULL, &root);
	if (status != STATUS_OK)
		return status == STATUS_NO_MEMORY ? status : wrong(problem, "this is no line of JSON");
	if (json_member(root, "receipt") != NULL)
		status = check_receipt(check, root, problem);
	else if (json_member(root, "jwk") != NULL)
		status = take_key(check, json_member(root, "jwk"), problem);
	else if (json_member(root, "export") != NULL)
		status = take_export(check, json_member(root, "export"), problem);
	else
		status = wrong(problem, "this is no receipt");
	json_free(root);
	return status;
}

static void print_keys(const struct receipt_check *check, struct buffer *summary)
{
	char thumbprint[KEY_THUMBPRINT_LENGTH + 1];
	if (check->trusted != NULL) {
		buffer_printf(summary, "every signature was made with the given key\n");
		return;
	}
	for (size_t i = 0; i < check->key_count; i++) {
		if (check->used[i] && key_thumbprint(check->keys[i], thumbprint) == STATUS_OK)
			buffer_printf(summary,
				"signed with %.*s (thumbprint %s), a key from the file itself: whose it is must be known from "
				"elsewhere, "
				"or give it with --key\n",
				TEXT_ARGUMENTS(key_id(check->keys[i])), thumbprint);
	}
}

enum status receipt_check_end(struct receipt_check *check, struct buffer *problem, struct buffer *summary)
{
	for (size_t i = 0; i < check->chain_count; i++) {
		const struct chain *chain = &check->chains[i];
		if (chain->unsigned_count > 0) {
			buffer_printf(problem, "the last %llu receipts of participant %s are not signed",
				(unsigned long long)chain->unsigned_count, chain->ctx);
			return STATUS_INVALID;
		}
		buffer_printf(summary, "participant %s, cell %s: %llu receipts, %llu to %llu, %llu bytes\n", chain->ctx,
			chain->cell, (unsigned long long)chain->count, (unsigned long long)chain->first,
			(unsigned long long)chain->link.sequence, (unsigned long long)chain->bytes);
		if (chain->first > 1 && check->flow == NULL)
			buffer_printf(summary, "those before %llu are no longer kept\n", (unsigned long long)chain->first);
	}
	if (check->chain_count == 0) {
		buffer_printf(problem, "there are no receipts");
		return STATUS_INVALID;
	}
	print_keys(check, summary);
	buffer_printf(summary,
		check->flow != NULL ? "proven: the cell stated each of these of flow %s, and none was changed since; not "
							  "whether there are more\n"
							: "proven: the cell stated each of these in this order, none was changed, added or taken "
							  "out since; what came "
							  "after the last is not known%s\n",
		check->flow != NULL ? check->flow : "");
	return summary->failed ? STATUS_NO_MEMORY : STATUS_OK;
}
