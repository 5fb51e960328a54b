/* Verdicts: a two-way set-associative cache. Only good tokens get in, so that nobody can push others out with garbage.
 */
#include "tenants/dp/token.h"

#include <stdlib.h>
#include <string.h>

#include "tenants/dp/opaque_token.h"

enum { WAYS = 2, HASHED_TAIL = 48, LEEWAY_S = 5, RECENT = 64 };

struct verdicts {
	struct verdict **slots; /* sets * WAYS */
	/* What the participants that share a place here asked for last, compared without a hash, and so in a time that
	 * tells nothing of how much of a guess is right. */
	struct verdict *recent[RECENT];
	size_t mask;
	const _Atomic uint64_t *epoch;
	uint32_t clock;
};

struct verdicts *verdicts_new(size_t capacity, const _Atomic uint64_t *epoch)
{
	struct verdicts *verdicts = calloc(1, sizeof(*verdicts));
	size_t sets = 1;
	while (sets * WAYS < capacity)
		sets *= 2;
	if (verdicts == NULL || (verdicts->slots = calloc(sets * WAYS, sizeof(struct verdict *))) == NULL) {
		free(verdicts);
		return NULL;
	}
	verdicts->mask = sets - 1;
	verdicts->epoch = epoch;
	return verdicts;
}

static void forget(struct verdict *verdict)
{
	if (verdict->recent != NULL && *verdict->recent == verdict)
		*verdict->recent = NULL;
	verdict->recent = NULL;
}

static void remember(struct verdict *verdict, struct verdict **recent)
{
	forget(verdict);
	*recent = verdict;
	verdict->recent = recent;
}

static void verdict_free(struct verdict *verdict)
{
	if (verdict == NULL)
		return;
	forget(verdict);
	if (verdict->key != NULL)
		key_free((struct key *)(uintptr_t)verdict->key);
	free(verdict);
}

void verdicts_free(struct verdicts *verdicts)
{
	if (verdicts == NULL)
		return;
	for (size_t i = 0; i < (verdicts->mask + 1) * WAYS; i++)
		verdict_free(verdicts->slots[i]);
	free(verdicts->slots);
	free(verdicts);
}

/* Of a JWT the signature alone: it differs in any two good tokens, and the whole token is compared anyway. */
static uint64_t hash_of(struct text token)
{
	return text_hash(text_slice(token, token.length > HASHED_TAIL ? token.length - HASHED_TAIL : 0, token.length));
}

static bool has_key(const struct participant *participant, const struct key *key)
{
	for (size_t i = 0; i < participant->key_count; i++) {
		if (participant->keys[i] == key)
			return true;
	}
	return false;
}

static bool stands(
	const struct verdicts *verdicts, const struct verdict *verdict, const struct participant *participant)
{
	return verdict->key != NULL ? has_key(participant, verdict->key)
								: verdict->epoch == atomic_load_explicit(verdicts->epoch, memory_order_acquire);
}

const struct verdict *verdicts_find(
	struct verdicts *verdicts, const struct participant *participant, struct text token, int64_t now_ms)
{
	struct verdict **recent = &verdicts->recent[((uintptr_t)participant >> 6 ^ (uintptr_t)participant >> 12) % RECENT];
	if (*recent != NULL && text_equals_secretly((*recent)->token, token) &&
		memcmp((*recent)->ctx.bytes, participant->ctx, ID_LENGTH) == 0 && now_ms < (*recent)->expires_ms &&
		stands(verdicts, *recent, participant)) {
		(*recent)->used = ++verdicts->clock;
		return *recent;
	}
	uint64_t hash = hash_of(token);
	struct verdict **set = verdicts->slots + (hash & verdicts->mask) * WAYS;
	for (int i = 0; i < WAYS; i++) {
		struct verdict *verdict = set[i];
		if (verdict == NULL || verdict->hash != hash || !text_equals(verdict->token, token) ||
			memcmp(verdict->ctx.bytes, participant->ctx, ID_LENGTH) != 0)
			continue;
		if (now_ms < verdict->expires_ms && stands(verdicts, verdict, participant)) {
			verdict->used = ++verdicts->clock;
			remember(verdict, recent);
			return verdict;
		}
		verdict_free(verdict);
		set[i] = NULL;
	}
	return NULL;
}

static struct text place(char **at, struct text text)
{
	char *start = *at;
	if (text.length > 0)
		memcpy(start, text.bytes, text.length);
	*at += text.length;
	return (struct text){start, text.length};
}

static const struct verdict *keep(struct verdicts *verdicts, const struct verdict *found)
{
	struct verdict *verdict =
		malloc(sizeof(*verdict) + sizeof(struct verdict_memo) + found->ctx.length + found->token.length +
			   found->flow.length + found->jti.length + found->audience.length);
	if (verdict == NULL)
		return NULL;
	struct verdict_memo *memo = (struct verdict_memo *)(verdict + 1);
	char *at = (char *)(memo + 1);
	*verdict = *found;
	*memo = (struct verdict_memo){{0}, {0}};
	verdict->memo = memo;
	verdict->ctx = place(&at, found->ctx);
	verdict->token = place(&at, found->token);
	verdict->flow = place(&at, found->flow);
	verdict->jti = place(&at, found->jti);
	verdict->audience = place(&at, found->audience);
	verdict->hash = hash_of(found->token);
	verdict->used = ++verdicts->clock;
	if (verdict->key != NULL)
		key_ref((struct key *)(uintptr_t)verdict->key);
	struct verdict **set = verdicts->slots + (verdict->hash & verdicts->mask) * WAYS, **slot = &set[0];
	for (int i = 0; i < WAYS; i++) {
		if (set[i] == NULL || (*slot != NULL && set[i]->used - (*slot)->used > UINT32_MAX / 2))
			slot = &set[i];
	}
	verdict_free(*slot);
	*slot = verdict;
	return verdict;
}

/* What both forms of tokens must say. */
static enum status judge(
	const struct access_claims *claims, const struct participant *participant, int64_t now_ms, struct verdict *verdict)
{
	if (claims->expires_s <= now_ms / 1000 || claims->expires_s > INT64_MAX / 1000 ||
		!text_equals(claims->identity, text_of(participant->identity)))
		return STATUS_UNAUTHORIZED;
	verdict->expires_ms = claims->expires_s * 1000;
	verdict->issued_s = claims->issued_s;
	verdict->ctx = claims->ctx;
	verdict->flow = claims->flow;
	verdict->jti = claims->jti;
	verdict->audience = claims->audience;
	return text_equals(claims->ctx, text_of(participant->ctx)) ? STATUS_OK : STATUS_FORBIDDEN;
}

static enum status read_claims(
	const struct json *claims, const struct participant *participant, int64_t now_ms, struct verdict *verdict)
{
	struct text identity = text_of(participant->identity);
	const struct token_rules rules = {
		.issuer = identity, .need_expiry = true, .leeway_s = LEEWAY_S, .now_s = now_ms / 1000};
	int64_t expires_s;
	enum status status = token_check(claims, &rules, &expires_s);
	if (status != STATUS_OK)
		return status == STATUS_NO_MEMORY ? status : STATUS_UNAUTHORIZED;
	struct access_claims read;
	return access_claims_read(claims, &read) ? judge(&read, participant, now_ms, verdict) : STATUS_UNAUTHORIZED;
}

const struct key *token_key(const struct participant *participant, struct text kid)
{
	for (size_t i = 0; kid.length > 0 && i < participant->key_count; i++) {
		if (text_equals(key_id(participant->keys[i]), kid))
			return participant->keys[i];
	}
	return NULL;
}

enum status verdicts_verify(struct verdicts *verdicts, const struct participant *participant, struct text token,
	int64_t now_ms, const struct verdict **verdict)
{
	if (token.length == 0 || token.length > TOKEN_BYTES_MAX)
		return STATUS_UNAUTHORIZED;
	struct jws jws;
	enum status status = jws_parse(token, &jws);
	if (status != STATUS_OK)
		return status == STATUS_NO_MEMORY ? status : STATUS_UNAUTHORIZED;
	struct verdict found = {.token = token, .key = token_key(participant, jws.kid)};
	status = found.key == NULL ? STATUS_UNAUTHORIZED : jws_verify(&jws, found.key);
	if (status == STATUS_OK)
		status = read_claims(jws.claims, participant, now_ms, &found);
	else if (status != STATUS_NO_MEMORY)
		status = STATUS_UNAUTHORIZED;
	if (status == STATUS_OK) {
		*verdict = keep(verdicts, &found);
		status = *verdict == NULL ? STATUS_NO_MEMORY : STATUS_OK;
	}
	jws_free(&jws);
	return status;
}

enum status verdicts_take(struct verdicts *verdicts, const struct participant *participant, struct text token,
	const struct access_claims *claims, uint64_t epoch, int64_t now_ms, const struct verdict **verdict)
{
	struct verdict found = {.token = token, .epoch = epoch};
	enum status status = judge(claims, participant, now_ms, &found);
	if (status != STATUS_OK)
		return status;
	*verdict = keep(verdicts, &found);
	return *verdict == NULL ? STATUS_NO_MEMORY : STATUS_OK;
}

struct text token_of(struct text authorization)
{
	/* as nearly all send it; whatever else is wrong with it, it is no token then */
	static const struct text usual = {"Bearer ", 7};
	if (authorization.length == usual.length + OPAQUE_TOKEN_LENGTH && text_starts_with(authorization, usual))
		return text_slice(authorization, usual.length, authorization.length);
	struct text value = text_trim(authorization);
	size_t space = text_find(value, ' ');
	if (space == value.length)
		return opaque_token_fits(value) || text_find(value, '.') < value.length ? value : TEXT_NONE;
	if (!text_equals_ignoring_case(text_slice(value, 0, space), TEXT("bearer")))
		return TEXT_NONE;
	value = text_trim(text_slice(value, space, value.length));
	return value.length > 0 && text_find(value, ' ') == value.length ? value : TEXT_NONE;
}
