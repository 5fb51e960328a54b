/* The check of a data-plane token: cold (parse, signature, claims) and with its verdict cached; of an opaque one, which
 * is looked up by a digest when cold, the cached half alone. */
#include <stdlib.h>
#include <string.h>

#include "bench/benches.h"
#include "server/base/clock.h"
#include "tenants/dp/opaque_token.h"
#include "tenants/dp/token.h"
#include "tenants/jose/jws.h"

static const char ctx[] = "0123456789abcdef0123456789abcdef";

/* A token as the cell mints it. */
static struct text make_token(const struct key *key, struct buffer *token)
{
	struct buffer header = {0}, claims = {0};
	int64_t now_s = clock_wall_ms() / 1000;
	uint8_t signature[64];
	buffer_printf(&header, "{\"alg\":\"%s\",\"typ\":\"JWT\",\"kid\":\"%.*s\"}",
		key_kind(key) == KEY_ES256 ? "ES256" : "EdDSA", TEXT_ARGUMENTS(key_id(key)));
	buffer_printf(&claims,
		"{\"iss\":\"did:web:bench\",\"sub\":\"did:web:bench\",\"aud\":\"did:web:consumer.example\",\"jti\":\"%s\","
		"\"iat\":%lld,"
		"\"exp\":%lld,\"ctx\":\"%s\",\"flow\":\"flow-1\"}",
		ctx, (long long)now_s, (long long)now_s + 3600, ctx);
	if (jws_input(buffer_text(&header), buffer_text(&claims), token) != STATUS_OK ||
		key_sign(key, buffer_text(token), signature) != STATUS_OK ||
		jws_append_signature(token, (struct text){(const char *)signature, sizeof(signature)}) != STATUS_OK)
		abort();
	buffer_free(&header);
	buffer_free(&claims);
	return buffer_text(token);
}

struct rig {
	struct key *key;
	struct participant participant;
	struct verdicts *verdicts;
	_Atomic uint64_t epoch;
	struct buffer buffer;
	struct text token;
};

static void rig_open(struct rig *rig, enum key_kind kind)
{
	*rig = (struct rig){.participant = {.identity = (char *)(uintptr_t) "did:web:bench", .key_count = 1}};
	if (key_generate(kind, TEXT("bench-key"), &rig->key) != STATUS_OK ||
		(rig->verdicts = verdicts_new(1024, &rig->epoch)) == NULL)
		abort();
	memcpy(rig->participant.ctx, ctx, sizeof(ctx));
	rig->participant.keys = &rig->key;
	rig->token = make_token(rig->key, &rig->buffer);
}

static void rig_close(struct rig *rig)
{
	verdicts_free(rig->verdicts);
	buffer_free(&rig->buffer);
	key_free(rig->key);
}

static void token_cold(struct bench *bench)
{
	struct rig rig;
	const struct verdict *verdict;
	rig_open(&rig, bench_argument(bench) == 0 ? KEY_ES256 : KEY_EDDSA);
	while (bench_continues(bench)) {
		if (verdicts_verify(rig.verdicts, &rig.participant, rig.token, clock_wall_ms(), &verdict) != STATUS_OK)
			bench_fail(bench, "the token was refused");
	}
	rig_close(&rig);
}

static void token_cached(struct bench *bench)
{
	struct rig rig;
	const struct verdict *verdict;
	rig_open(&rig, KEY_EDDSA);
	int64_t now_ms = clock_wall_ms();
	if (verdicts_verify(rig.verdicts, &rig.participant, rig.token, now_ms, &verdict) != STATUS_OK)
		bench_fail(bench, "the token was refused");
	while (bench_continues(bench)) {
		verdict = verdicts_find(rig.verdicts, &rig.participant, rig.token, now_ms);
		bench_keep(verdict);
	}
	rig_close(&rig);
}

static void opaque_token_cached(struct bench *bench)
{
	struct rig rig;
	const struct verdict *verdict;
	char token[OPAQUE_TOKEN_LENGTH + 1];
	rig_open(&rig, KEY_EDDSA);
	int64_t now_ms = clock_wall_ms();
	const struct access_claims claims = {.identity = text_of(rig.participant.identity),
		.audience = TEXT("did:web:consumer.example"),
		.ctx = text_of(ctx),
		.flow = TEXT("flow-1"),
		.jti = text_of(ctx),
		.issued_s = now_ms / 1000,
		.expires_s = now_ms / 1000 + 3600};
	opaque_token_make(token);
	if (verdicts_take(rig.verdicts, &rig.participant, text_of(token), &claims, 0, now_ms, &verdict) != STATUS_OK)
		bench_fail(bench, "the token was refused");
	while (bench_continues(bench)) {
		verdict = verdicts_find(rig.verdicts, &rig.participant, text_of(token), now_ms);
		bench_keep(verdict);
	}
	rig_close(&rig);
}

void register_token_benches(void)
{
	static const int64_t kinds[] = {0, 1};
	bench_register("token_cold/ES256=0,EdDSA=1", token_cold, kinds, 2);
	bench_register("token_cached", token_cached, NULL, 0);
	bench_register("opaque_token_cached", opaque_token_cached, NULL, 0);
}
