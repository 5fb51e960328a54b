/* The registry: snapshots made of records, in whatever order and state they come. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "server/base/log.h"
#include "tenants/jose/jwk.h"
#include "tenants/registry.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define A "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define B "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
#define BODY(state) "{\"identity\":\"did:web:a\",\"state\":\"" state "\",\"properties\":{},\"createdAt\":7}"

/* The store of this test: it keeps who listens. */
static struct store_listener listener;
static int64_t revision;

void store_listen(struct store *store, const struct store_listener *who)
{
	(void)store;
	listener = *who;
}

const char *record_kind_name(enum record_kind kind)
{
	(void)kind;
	return "record";
}

static void record(enum record_kind kind, const char *ctx, const char *id, const char *body)
{
	const struct record told = {.ctx = text_of(ctx),
		.kind = kind,
		.id = text_of(id),
		.revision = ++revision,
		.body = body == NULL ? TEXT_NONE : text_of(body)};
	listener.on_record(listener.context, &told);
}

static void end_batch(void)
{
	listener.on_batch(listener.context);
}

/* --- who observes */

static char seen[1024];
static struct registry *registry;

/* "a:- ACTIVATED;": the first of the ctx, the state before and after. */
static void on_change(
	void *context, const char *ctx, const struct participant *participant, const struct participant *previous)
{
	size_t length = strlen(seen);
	snprintf(seen + length, sizeof(seen) - length, "%.1s:%s %s;", ctx,
		previous == NULL ? "-" : participant_state_name(previous->state),
		participant == NULL ? "-" : participant_state_name(participant->state));
	assert_ptr_equal(context, &listener);
	assert_ptr_equal(registry_find(registry, text_of(ctx)), participant);
	if (participant != NULL)
		assert_string_equal(participant->ctx, ctx);
}

static void on_batch(void *context)
{
	assert_ptr_equal(context, &listener);
	strncat(seen, "|", sizeof(seen) - strlen(seen) - 1);
}

static int set_up(void **state)
{
	(void)state;
	log_threshold = LOG_ERROR + 1;
	revision = 0;
	seen[0] = 0;
	/* no pool: what is retired goes at once */
	if (registry_open(NULL, NULL, NULL, &registry) != STATUS_OK)
		return -1;
	registry_observe(registry, on_change, on_batch, &listener);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	registry_free(registry);
	registry_free(NULL);
	return 0;
}

/* --- cases */

static void participants_come_change_and_go(void **state)
{
	(void)state;
	record(RECORD_PARTICIPANT, A, "participant", BODY("CREATED"));
	record(RECORD_PARTICIPANT, B, "participant", BODY("ACTIVATED"));
	end_batch();
	record(RECORD_PARTICIPANT, A, "participant", BODY("ACTIVATED"));
	end_batch();
	record(RECORD_PARTICIPANT, A, "participant", BODY("DEACTIVATED"));
	record(RECORD_PARTICIPANT, B, "participant", NULL);
	end_batch();
	record(RECORD_PARTICIPANT, B, "participant", NULL); /* again: nothing to tell */
	end_batch();
	assert_string_equal(
		seen, "a:- CREATED;b:- ACTIVATED;|a:CREATED ACTIVATED;|a:ACTIVATED DEACTIVATED;b:ACTIVATED -;||");
	assert_int_equal(registry_count(registry), 1);
	const struct participant *found = registry_find(registry, TEXT(A));
	assert_int_equal(found->state, PARTICIPANT_DEACTIVATED);
	assert_int_equal(found->revision, 4);
	assert_int_equal(found->created_ms, 7);
	assert_string_equal(found->identity, "did:web:a");
	assert_null(registry_find(registry, TEXT(B)));
	assert_null(registry_find(registry, TEXT("")));
	assert_null(registry_find(registry, TEXT("aaaa")));
}

static void what_is_not_of_a_participant_is_passed_over(void **state)
{
	(void)state;
	static const struct {
		enum record_kind kind;
		const char *ctx, *body;
	} records[] = {
		{RECORD_PARTICIPANT_CONFIG, A, "{\"entries\":{}}"}, /* of nobody */
		{RECORD_KEY, A, "{}"},
		{RECORD_DATASET, A, "{}"},
		{RECORD_FLOW, A, "{}"},
		{RECORD_PARTICIPANT, "", BODY("CREATED")}, /* no ctx */
		{RECORD_PARTICIPANT, "short", BODY("CREATED")},
		{RECORD_PARTICIPANT, "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", BODY("CREATED")},
		{RECORD_PARTICIPANT, A, "{"}, /* damaged */
		{RECORD_PARTICIPANT, A, "[]"},
		{RECORD_PARTICIPANT, A, "{\"identity\":\"x\"}"},
		{RECORD_PARTICIPANT, A, BODY("SLEEPING")},
	};
	for (size_t i = 0; i < COUNT(records); i++)
		record(records[i].kind, records[i].ctx, "x", records[i].body);
	end_batch();
	assert_int_equal(registry_count(registry), 0);
	assert_string_equal(seen, "|");
}

static void configuration_is_read_and_taken_back(void **state)
{
	(void)state;
	record(RECORD_PARTICIPANT, A, "participant", BODY("ACTIVATED"));
	const struct participant *found = registry_find(registry, TEXT(A));
	assert_int_equal(found->config_revision, 0);
	assert_int_equal(found->vpas, (1U << VPA_TYPE_COUNT) - 1);
	record(RECORD_PARTICIPANT_CONFIG, A, "config",
		"{\"entries\":{\"celld.limits.requestsPerSecond\":\"10\",\"celld.limits.bytesPerSecond\":\"20\","
		"\"celld.limits.streams\":\"30\",\"celld.limits.connections\":\"40\",\"celld.weight\":\"1000\","
		"\"celld.http.allow\":\"10.1.0.0/16, fd00::/8\",\"celld.hosts\":\"one.example, two.example\","
		"\"celld.vpas\":\"cfm.dataplane\",\"edc.other\":\"x\"}}");
	found = registry_find(registry, TEXT(A));
	assert_int_equal(found->limits.requests_per_second, 10);
	assert_int_equal(found->limits.bytes_per_second, 20);
	assert_int_equal(found->limits.streams, 30);
	assert_int_equal(found->limits.connections, 40);
	assert_int_equal(found->limits.weight, 1000);
	assert_int_equal(found->allowed_network_count, 2);
	assert_int_equal(found->host_count, 2);
	assert_string_equal(found->hosts[1], "two.example");
	assert_int_equal(found->vpas, 1U << VPA_DATAPLANE);
	assert_int_equal(found->config_revision, 2);
	assert_int_equal(found->revision, 1);
	/* a change of the participant keeps it; a damaged one changes nothing */
	record(RECORD_PARTICIPANT, A, "participant", BODY("DEACTIVATED"));
	record(RECORD_PARTICIPANT_CONFIG, A, "config", "{\"entries\":{\"celld.weight\":\"0\"}}");
	record(RECORD_PARTICIPANT_CONFIG, A, "config", "{");
	found = registry_find(registry, TEXT(A));
	assert_int_equal(found->limits.weight, 1000);
	assert_int_equal(found->config_revision, 2);
	assert_int_equal(found->revision, 3);
	assert_int_equal(found->state, PARTICIPANT_DEACTIVATED);
	record(RECORD_PARTICIPANT_CONFIG, A, "config", NULL);
	found = registry_find(registry, TEXT(A));
	assert_int_equal(found->limits.weight, 0);
	assert_int_equal(found->host_count, 0);
	assert_int_equal(found->config_revision, 0);
	assert_null(found->config);
}

/* Who comes again under the same id has nothing of the one before, whatever the order of the tombstones. */
static void who_comes_again_starts_anew(void **state)
{
	(void)state;
	static const bool is_config_first[] = {true, false};
	for (size_t i = 0; i < COUNT(is_config_first); i++) {
		record(RECORD_PARTICIPANT, A, "participant", BODY("ACTIVATED"));
		record(RECORD_PARTICIPANT_CONFIG, A, "config", "{\"entries\":{\"celld.weight\":\"9\"}}");
		assert_int_equal(registry_find(registry, TEXT(A))->limits.weight, 9);
		record(is_config_first[i] ? RECORD_PARTICIPANT_CONFIG : RECORD_PARTICIPANT, A, "x", NULL);
		record(is_config_first[i] ? RECORD_PARTICIPANT : RECORD_PARTICIPANT_CONFIG, A, "x", NULL);
		end_batch();
		assert_null(registry_find(registry, TEXT(A)));
		record(RECORD_PARTICIPANT, A, "participant", BODY("CREATED"));
		assert_int_equal(registry_find(registry, TEXT(A))->limits.weight, 0);
		assert_int_equal(registry_find(registry, TEXT(A))->config_revision, 0);
		record(RECORD_PARTICIPANT, A, "participant", NULL);
	}
}

static void put_key(const char *alias, const char *random)
{
	struct key *key = NULL;
	struct buffer jwk = {0}, kid = {0};
	buffer_printf(&kid, "%s#%s-%s", A, alias, random);
	assert_int_equal(key_generate(KEY_EDDSA, buffer_text(&kid), &key), STATUS_OK);
	assert_int_equal(key_to_public_jwk(key, &jwk), STATUS_OK);
	record(RECORD_KEY, A, alias, jwk.bytes);
	key_free(key);
	buffer_free(&jwk);
	buffer_free(&kid);
}

/* "alias-random ..." of the participant's keys. */
static const char *key_ids(void)
{
	static char ids[256];
	const struct participant *found = registry_find(registry, TEXT(A));
	ids[0] = 0;
	for (size_t i = 0; i < found->key_count; i++) {
		struct text kid = key_id(found->keys[i]);
		size_t length = strlen(ids);
		snprintf(ids + length, sizeof(ids) - length, "%s%.*s", i == 0 ? "" : " ",
			TEXT_ARGUMENTS(text_slice(kid, ID_LENGTH + 1, kid.length)));
	}
	return ids;
}

static void a_key_replaces_only_its_alias(void **state)
{
	(void)state;
	record(RECORD_PARTICIPANT, A, "participant", BODY("ACTIVATED"));
	put_key("data", "00000001");
	put_key("data-plane", "00000002");
	put_key("a", "00000003");
	assert_string_equal(key_ids(), "data-00000001 data-plane-00000002 a-00000003");
	put_key("data", "00000004"); /* and not data-plane, which begins the same */
	assert_string_equal(key_ids(), "data-plane-00000002 a-00000003 data-00000004");
	record(RECORD_KEY, A, "data", NULL);
	record(RECORD_KEY, A, "none", NULL);
	assert_string_equal(key_ids(), "data-plane-00000002 a-00000003");
	record(RECORD_KEY, A, "a", "{\"kty\":\"OKP\"}"); /* damaged: the one before stays */
	record(RECORD_KEY, A, "a", "{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"x\":\"AA\",\"d\":\"AA\"}");
	assert_string_equal(key_ids(), "data-plane-00000002 a-00000003");
	record(RECORD_PARTICIPANT, A, "participant", BODY("DEACTIVATED"));
	assert_string_equal(key_ids(), "data-plane-00000002 a-00000003");
}

static void full_of_keys_it_can_still_be_changed(void **state)
{
	(void)state;
	record(RECORD_PARTICIPANT, A, "participant", BODY("ACTIVATED"));
	for (int i = 0; i < 70; i++) {
		char alias[16];
		snprintf(alias, sizeof(alias), "k%d", i);
		put_key(alias, "00000000");
	}
	assert_int_equal(registry_find(registry, TEXT(A))->key_count, 64);
	put_key("k5", "00000001");
	assert_int_equal(registry_find(registry, TEXT(A))->key_count, 64);
	record(RECORD_PARTICIPANT, A, "participant", BODY("DEACTIVATED"));
	assert_int_equal(registry_find(registry, TEXT(A))->state, PARTICIPANT_DEACTIVATED);
	record(RECORD_KEY, A, "k5", NULL);
	assert_int_equal(registry_find(registry, TEXT(A))->key_count, 63);
	put_key("k69", "00000000");
	assert_int_equal(registry_find(registry, TEXT(A))->key_count, 64);
}

static bool count_two(void *context, const struct participant *participant)
{
	assert_non_null(participant);
	return ++*(unsigned *)context < 2;
}

static void thousands_are_found_and_visited(void **state)
{
	(void)state;
	char ctx[ID_LENGTH + 1];
	for (unsigned i = 0; i < 3000; i++) {
		snprintf(ctx, sizeof(ctx), "%032x", i * 2654435761U);
		record(RECORD_PARTICIPANT, ctx, "participant", BODY("ACTIVATED"));
		seen[0] = 0;
		if (i == 1500)
			end_batch(); /* the load is over: from here on versions */
	}
	assert_int_equal(registry_count(registry), 3000);
	for (unsigned i = 0; i < 3000; i++) {
		snprintf(ctx, sizeof(ctx), "%032x", i * 2654435761U);
		assert_string_equal(registry_find(registry, text_of(ctx))->ctx, ctx);
	}
	unsigned visited = 0;
	registry_each(registry, count_two, &visited);
	assert_int_equal(visited, 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(participants_come_change_and_go, set_up, tear_down),
		cmocka_unit_test_setup_teardown(what_is_not_of_a_participant_is_passed_over, set_up, tear_down),
		cmocka_unit_test_setup_teardown(configuration_is_read_and_taken_back, set_up, tear_down),
		cmocka_unit_test_setup_teardown(who_comes_again_starts_anew, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_key_replaces_only_its_alias, set_up, tear_down),
		cmocka_unit_test_setup_teardown(full_of_keys_it_can_still_be_changed, set_up, tear_down),
		cmocka_unit_test_setup_teardown(thousands_are_found_and_visited, set_up, tear_down),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
