/* The Tenant Manager on a state in memory: two replicas, a placer and a broker that do as they are told, so that what
 * happens at the wrong moment can be made to happen. Shapes are in e2e/test_tenant_manager.py. */
#include "manager_world.h"

static void what_is_written_together_is_there_together(void **unused)
{
	(void)unused;
	placer.builds = 2; /* other placers were faster */
	char *profile = deploy();
	must_be(profile, "pending");
	assert_int_equal(fixture_count(RECORD_PARTICIPANT_PROFILE), 1);
	assert_int_equal(fixture_count(RECORD_LETTER), 1);
	assert_int_equal(fixture_count(RECORD_COMMAND), 0); /* the cell has never joined */
	free(profile);
	fixture.is_down = true;
	assert_int_equal(call(0, "POST", profiles_path(""), "{\"identifier\":\"did:web:b\"}"), 503);
	assert_int_equal(call(0, "POST", "/api/v1alpha1/tenants", "{}"), 503);
	fixture.is_down = false;
	assert_int_equal(fixture_count(RECORD_PARTICIPANT_PROFILE), 1);
	assert_int_equal(fixture_count(RECORD_LETTER), 1);
	assert_int_equal(fixture_count(RECORD_TENANT), 1);
}

static void a_caller_that_leaves_does_not_take_the_call_along(void **unused)
{
	(void)unused;
	begin(0, "POST", profiles_path(""), "{\"identifier\":\"did:web:a\"}");
	leave();
	run_all();
	assert_int_equal(shot.given, 0);
	assert_int_equal(fixture_count(RECORD_PARTICIPANT_PROFILE), 1);
	begin(0, "POST", "/api/v1alpha1/tenants/query", "{\"predicate\":\"properties.n = 0\"}");
	leave();
	run_all();
	begin(0, "POST", "/api/v1alpha1/cells", "{\"state\":\"active\",\"externalId\":\"x\"}");
	leave();
	run_all();
	assert_int_equal(fixture_count(RECORD_CELL), 2);
	assert_int_equal(call(0, "POST", "/api/v1alpha1/cells", "{\"state\":\"active\",\"externalId\":\"x\"}"), 409);
}

static void a_change_by_another_replica_is_seen_and_kept(void **unused)
{
	char path[128];
	(void)unused;
	snprintf(path, sizeof(path), "/api/v1alpha1/tenants/%s", tenant);
	/* both read before either commits: the second one reads again */
	static const char *const bodies[] = {"{\"properties\":{\"a\":1}}", "{\"properties\":{\"b\":2}}"};
	struct exchange both[2];
	memset(&shot, 0, sizeof(shot));
	for (size_t i = 0; i < 2; i++) {
		both[i] = (struct exchange){.method = TEXT("PATCH"), .target = text_of(path)};
		shot.body = text_of(bodies[i]);
		rest_handle(rests[i], &both[i]);
	}
	run_all();
	assert_int_equal(shot.given, 2);
	for (size_t i = 0; i < 2; i++) {
		assert_int_equal(both[i].status, 200);
		both[i].on_close(&both[i], STATUS_OK);
	}
	assert_int_equal(call(1, "GET", path, NULL), 200);
	assert_non_null(strstr(shot.answer, "\"properties\":{\"n\":0,\"a\":1,\"b\":2}"));
}

static void an_external_id_is_given_once_even_at_the_same_moment(void **unused)
{
	(void)unused;
	begin(0, "POST", "/api/v1alpha1/cells", "{\"state\":\"active\",\"externalId\":\"same\"}");
	struct exchange first = shot.exchange;
	memset(&shot, 0, sizeof(shot));
	begin(0, "POST", "/api/v1alpha1/cells", "{\"state\":\"active\",\"externalId\":\"same\"}");
	assert_int_equal(shot.status, 409);
	leave();
	memset(&shot, 0, sizeof(shot));
	shot.exchange = first;
	run_all();
	leave();
	assert_int_equal(fixture_count(RECORD_CELL), 2);
	/* two replicas, neither of which has heard of the other's: the record decides */
	static struct exchange both[2];
	memset(&shot, 0, sizeof(shot));
	for (size_t i = 0; i < 2; i++) {
		shot.body = TEXT("{\"state\":\"active\",\"externalId\":\"twice\"}");
		both[i] = (struct exchange){.method = TEXT("POST"), .target = TEXT("/api/v1alpha1/cells")};
		rest_handle(rests[i], &both[i]);
	}
	run_all();
	assert_int_equal(shot.given, 2);
	assert_int_equal(both[0].status, 201);
	assert_int_equal(both[1].status, 409);
	for (size_t i = 0; i < 2; i++)
		both[i].on_close(&both[i], STATUS_OK);
	assert_int_equal(fixture_count(RECORD_CELL), 3);
	assert_int_equal(fixture_count(RECORD_CELL_NAME), 2); /* the world's cell has none */
	/* given back with the cell, by whichever replica; a cell from before has nothing to give */
	const struct cell_record *taken = cells_find_external(cells[1], TEXT("twice"));
	char path[128];
	snprintf(path, sizeof(path), "/api/v1alpha1/cells/%s", taken->id);
	assert_int_equal(call(1, "DELETE", path, NULL), 200);
	assert_int_equal(fixture_count(RECORD_CELL_NAME), 1);
	assert_int_equal(call(0, "POST", "/api/v1alpha1/cells", "{\"state\":\"active\",\"externalId\":\"twice\"}"), 201);
	fixture_put(RECORD_CELL, "old",
		"{\"version\":0,\"externalId\":\"older\",\"state\":\"active\","
		"\"stateTimestamp\":\"2026-01-01T00:00:00Z\",\"properties\":{}}");
	assert_int_equal(call(0, "POST", "/api/v1alpha1/cells", "{\"state\":\"active\",\"externalId\":\"older\"}"), 409);
	assert_int_equal(call(1, "DELETE", "/api/v1alpha1/cells/old", NULL), 200);
	assert_int_equal(call(1, "POST", "/api/v1alpha1/cells", "{\"state\":\"active\",\"externalId\":\"older\"}"), 201);
}

static void a_tenant_with_a_participant_on_its_way_stays(void **unused)
{
	char path[128];
	(void)unused;
	snprintf(path, sizeof(path), "/api/v1alpha1/tenants/%s", tenant);
	begin(0, "POST", profiles_path(""), "{\"identifier\":\"did:web:a\"}");
	struct exchange first = shot.exchange;
	begin(0, "DELETE", path, NULL);
	assert_int_equal(shot.status, 400);
	leave();
	memset(&shot, 0, sizeof(shot));
	shot.exchange = first;
	run_all();
	leave();
	assert_int_equal(call(0, "DELETE", path, NULL), 400);
}

/* Both at one moment, each in a replica that has not heard of the other: the tenant goes and has no participant, or
 * stays with it. */
static void a_tenant_goes_with_nobody_of_another_replica_in_it(void **unused)
{
	char path[128];
	(void)unused;
	snprintf(path, sizeof(path), "/api/v1alpha1/tenants/%s", tenant);
	for (unsigned order = 0; order < 2; order++) {
		struct exchange calls[2];
		memset(&shot, 0, sizeof(shot));
		for (unsigned i = 0; i < 2; i++) {
			bool is_delete = i != order;
			calls[i] = (struct exchange){.method = is_delete ? TEXT("DELETE") : TEXT("POST"),
				.target = text_of(is_delete ? path : profiles_path(""))};
			shot.body = TEXT("{\"identifier\":\"did:web:a\"}");
			rest_handle(rests[is_delete ? 1 : 0], &calls[i]);
		}
		run_all();
		assert_int_equal(shot.given, 2);
		for (unsigned i = 0; i < 2; i++)
			calls[i].on_close(&calls[i], STATUS_OK);
		bool is_deployed = order == 0; /* whoever comes to its commit first */
		assert_int_equal(calls[order].status, is_deployed ? 202 : 409);
		assert_int_equal(calls[1 - order].status, is_deployed ? 400 : 200);
		assert_int_equal(fixture_count(RECORD_PARTICIPANT_PROFILE), is_deployed);
		assert_int_equal(fixture_count(RECORD_TENANT), is_deployed);
		if (!is_deployed)
			break;
		/* it stays, and is as before */
		for (size_t i = 0; i < 2; i++) {
			assert_int_equal(call(i, "GET", path, NULL), 200);
			assert_null(strstr(shot.answer, "celld"));
		}
		free(deploy());
		assert_int_equal(fixture_count(RECORD_PARTICIPANT_PROFILE), 2);
		close_world(NULL);
		open_world(NULL);
		snprintf(path, sizeof(path), "/api/v1alpha1/tenants/%s", tenant);
	}
}

/* A process died between the two commits of a deletion. */
static void a_deletion_that_was_cut_off_is_forgotten(void **unused)
{
	char path[128], body[256];
	(void)unused;
	snprintf(path, sizeof(path), "/api/v1alpha1/tenants/%s", tenant);
	snprintf(body, sizeof(body), "{\"id\":\"%s\",\"version\":0,\"properties\":{\"n\":1},\"celld\":{\"going\":%lld}}",
		tenant, (long long)clock_wall_ms());
	fixture_put(RECORD_TENANT, tenant, body);
	assert_int_equal(call(0, "POST", profiles_path(""), "{\"identifier\":\"did:web:a\"}"), 409);
	assert_int_equal(call(0, "GET", path, NULL), 200);
	assert_null(strstr(shot.answer, "celld"));
	assert_int_equal(call(0, "GET", "/api/v1alpha1/tenants", NULL), 200);
	assert_null(strstr(shot.answer, "celld"));
	snprintf(body, sizeof(body), "{\"id\":\"%s\",\"version\":0,\"celld\":{\"going\":%lld}}", tenant,
		(long long)clock_wall_ms() - 61000);
	fixture_put(RECORD_TENANT, tenant, body);
	free(deploy());
	assert_int_equal(call(1, "DELETE", path, NULL), 400);
}

/* The tenant changes while its participant is placed: once more, with what the tenant says now. */
static void a_tenant_that_changes_meanwhile_is_read_again(void **unused)
{
	char path[128];
	(void)unused;
	snprintf(path, sizeof(path), "/api/v1alpha1/tenants/%s", tenant);
	struct exchange calls[2] = {{.method = TEXT("PATCH"), .target = text_of(path)}, {.method = TEXT("POST")}};
	memset(&shot, 0, sizeof(shot));
	shot.body = TEXT("{\"properties\":{\"celld.placement\":{\"require\":{\"region\":[\"north\"]}}}}");
	rest_handle(rests[1], &calls[0]);
	calls[1].target = text_of(profiles_path(""));
	shot.body = TEXT("{\"identifier\":\"did:web:a\"}");
	rest_handle(rests[0], &calls[1]);
	assert_null(strstr(placer.request, "north"));
	run_all();
	for (unsigned i = 0; i < 2; i++)
		calls[i].on_close(&calls[i], STATUS_OK);
	assert_int_equal(calls[0].status, 200);
	assert_int_equal(calls[1].status, 202);
	assert_int_equal(placer.asked, 2);
	assert_non_null(strstr(placer.request, "north"));
	assert_int_equal(fixture_count(RECORD_PARTICIPANT_PROFILE), 1);
}

static void one_of_all_dataspaces_is_enough_when_none_is_named(void **unused)
{
	char wanted[64], body[160];
	(void)unused;
	assert_int_equal(call(0, "POST", "/api/v1alpha1/dataspace-profiles", "{}"), 201);
	char *other = member_of_answer("id");
	/* no cell has both, one has the second */
	snprintf(wanted, sizeof(wanted), "\"profiles\":[\"%s\"]", other);
	placer.wanted = wanted;
	free(deploy());
	assert_true(placer.asked >= 2 && placer.asked <= 3);
	/* those that are named must all be there */
	placer.asked = 0;
	snprintf(
		body, sizeof(body), "{\"identifier\":\"did:web:a\",\"dataspaceProfileIds\":[\"%s\",\"%s\"]}", dataspace, other);
	assert_int_equal(call(0, "POST", profiles_path(""), body), 500);
	assert_non_null(strstr(shot.answer, "no active cell found: 0 of 1 cells"));
	assert_int_equal(placer.asked, 1);
	free(other);
}

static void responses_move_vpas_and_are_acknowledged_after_the_commit(void **unused)
{
	(void)unused;
	char *profile = deploy();
	hear(0, response(profile, "deploy", true, ",\"properties\":{\"participantContextId\":\"c\"}"), "1");
	assert_int_equal(broker.answers, 0);
	must_be(profile, "pending");
	run_all();
	assert_int_equal(broker.answers, 1);
	assert_int_equal(broker.verdict, BUS_ACK);
	must_be(profile, "active");
	/* again, and what came late */
	assert_int_equal(take(1, response(profile, "deploy", true, "")), BUS_ACK);
	must_be(profile, "active");
	assert_int_equal(call(1, "DELETE", profiles_path(profile), NULL), 202);
	must_be(profile, "disposing");
	assert_int_equal(fixture_count(RECORD_LETTER), 2);
	assert_int_equal(take(0, response(profile, "dispose", true, "")), BUS_ACK);
	must_be(profile, "disposed");
	assert_int_equal(placer.released, 4);
	assert_int_equal(take(0, response(profile, "dispose", true, "")), BUS_ACK);
	assert_int_equal(take(0, response(profile, "deploy", true, "")), BUS_ACK);
	must_be(profile, "disposed");
	assert_int_equal(placer.released, 4);
	free(profile);
}

static void what_cannot_be_stored_comes_again(void **unused)
{
	(void)unused;
	char *profile = deploy();
	fixture.is_down = true;
	assert_int_equal(take(0, response(profile, "deploy", true, "")), BUS_NAK);
	fixture.is_down = false;
	must_be(profile, "pending");
	assert_int_equal(take(0, response(profile, "deploy", true, "")), BUS_ACK);
	must_be(profile, "active");
	free(profile);
}

static void two_responses_at_once_are_both_taken(void **unused)
{
	(void)unused;
	char *profile = deploy();
	/* the compensation's success overtakes the failure it compensates, in two replicas */
	hear(0, response(profile, "dispose", true, ""), "1");
	hear(1, response(profile, "deploy", false, ",\"errorDetail\":\"no\""), "1");
	run_all();
	assert_int_equal(broker.answers, 2);
	assert_int_equal(broker.verdict, BUS_ACK);
	must_be(profile, "disposed");
	char *error = error_of(profile);
	assert_string_equal(error, "no");
	free(error);
	assert_int_equal(placer.released, 4);
	free(profile);
}

static void the_cause_of_a_failure_is_found(void **unused)
{
	static const struct {
		enum status status;
		const char *value, *detail, *expected;
	} cases[] = {{STATUS_OK, "{\"processingData\":{\"error\":\"in the bucket\"}}", ",\"errorDetail\":\"said\"", "said"},
		{STATUS_OK, "{\"processingData\":{\"error\":\"in the bucket\"}}", "", "in the bucket"},
		{STATUS_OK, "{\"processingData\":{\"error\":{\"code\":401}}}", "", "{\"code\":401}"},
		{STATUS_OK, "{\"processingData\":{}}", "", "orchestration m failed, no cause was given"},
		{STATUS_OK, "nonsense", ",\"errorDetail\":null", "orchestration m failed, no cause was given"},
		{STATUS_NOT_FOUND, NULL, ",\"errorDetail\":\"\"", "orchestration m failed, no cause was given"}};
	(void)unused;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		char *profile = deploy();
		broker.bucket_status = cases[i].status;
		broker.bucket_value = cases[i].value;
		assert_int_equal(take(0, response(profile, "deploy", false, cases[i].detail)), BUS_ACK);
		must_be(profile, "error");
		char *error = error_of(profile);
		assert_string_equal(error, cases[i].expected);
		free(error);
		free(profile);
	}
	char *profile = deploy();
	broker.bucket_status = STATUS_UNAVAILABLE;
	assert_int_equal(take(0, response(profile, "deploy", false, "")), BUS_NAK);
	must_be(profile, "pending");
	free(profile);
}

static void nonsense_is_parked_and_an_unknown_profile_waited_for(void **unused)
{
	(void)unused;
	static const char *const nonsense[] = {"", "{", "[]", "{}", "{\"id\":1}"};
	for (size_t i = 0; i < sizeof(nonsense) / sizeof(nonsense[0]); i++) {
		assert_int_equal(take(0, nonsense[i]), BUS_ACK);
		assert_int_equal(fixture_count(RECORD_PARKED), i + 1);
	}
	assert_int_equal(take(0, response("nobody", "rotate", true, "")), BUS_ACK);
	assert_int_equal(fixture_count(RECORD_PARKED), 6);
	/* another replica may just have written it */
	assert_int_equal(take(0, response("nobody", "deploy", true, "")), BUS_NAK);
	assert_int_equal(fixture_count(RECORD_PARKED), 6);
	broker.answers = 0;
	hear(0, response("nobody", "deploy", true, ""), "40");
	run_all();
	assert_int_equal(broker.verdict, BUS_ACK);
	assert_int_equal(fixture_count(RECORD_PARKED), 7);
	/* parking fails: it comes again */
	fixture.is_down = true;
	assert_int_equal(take(0, "{"), BUS_NAK);
	fixture.is_down = false;
	assert_int_equal(fixture_count(RECORD_PARKED), 7);
}

static void cells_that_have_joined_are_told(void **unused)
{
	(void)unused;
	const struct cell_record *cell = NULL;
	char body[1024];
	cells_each(cells[0], take_first, &cell);
	char *id = text_copy(text_of(cell->id));
	snprintf(body, sizeof(body),
		"{\"version\":0,\"externalId\":\"c\",\"state\":\"active\",\"stateTimestamp\":\"0001-01-01T00:00:00Z\","
		"\"properties\":{"
		"\"celld.definition\":{\"cellId\":\"c\",\"name\":\"n\",\"type\":\"edge\",\"region\":\"r\",\"provider\":\"p\","
		"\"capacity\":{\"maxVPAs\":9},\"infrastructure\":{},\"labels\":{}}},\"celld\":{\"mode\":\"ready\",\"epoch\":3,"
		"\"incarnation\":\"i\",\"key\":\"k\"}}");
	fixture_put(RECORD_CELL, id, body);
	assert_int_equal(cells_find(cells[0], text_of(id))->epoch, 3);
	char *profile = deploy();
	assert_int_equal(fixture_count(RECORD_COMMAND), 4); /* prepare */
	/* no id of a context of ours: nothing to activate */
	assert_int_equal(
		take(0, response(profile, "deploy", true, ",\"properties\":{\"participantContextId\":\"x\"}")), BUS_ACK);
	assert_int_equal(fixture_count(RECORD_COMMAND), 4);
	free(profile);
	profile = deploy();
	assert_int_equal(take(0, response(profile, "deploy", true,
								 ",\"properties\":{\"participantContextId\":\"0123456789abcdef0123456789abcdef\"}")),
		BUS_ACK);
	assert_int_equal(fixture_count(RECORD_COMMAND), 12); /* prepare, activate */
	assert_int_equal(call(0, "DELETE", profiles_path(profile), NULL), 202);
	assert_int_equal(take(0, response(profile, "dispose", true, "")), BUS_ACK);
	assert_int_equal(fixture_count(RECORD_COMMAND), 16); /* tombstone */
	free(profile);
	free(id);
}

/* What a replica shows of a profile, alone and in a query for that state. */
static void must_show(size_t replica, const char *profile, const char *state, const char *since)
{
	char predicate[128];
	assert_int_equal(call(replica, "GET", profiles_path(profile), NULL), 200);
	struct json *root = answered();
	const struct json *vpa = json_first(json_member(root, "vpas"));
	assert_int_equal(json_count(json_member(root, "vpas")), 4);
	for (; vpa != NULL; vpa = json_next(vpa)) {
		assert_true(text_equals(json_member_text(vpa, "state"), text_of(state)));
		assert_true(since == NULL || text_equals(json_member_text(vpa, "stateTimestamp"), text_of(since)));
	}
	json_free(root);
	snprintf(predicate, sizeof(predicate), "{\"predicate\":\"vpas.state = '%s'\"}", state);
	assert_int_equal(call(replica, "POST", "/api/v1alpha1/participant-profiles/query", predicate), 200);
	assert_non_null(strstr(shot.answer, profile));
	assert_int_equal(call(replica, "GET", profiles_path(""), NULL), 200);
	char shown[64];
	snprintf(shown, sizeof(shown), "\"state\":\"%s\"", state);
	assert_non_null(strstr(shot.answer, shown));
}

/* control.md 2.5: shown, in both replicas, and nothing is written for it. */
static void vpas_of_an_unreachable_cell_are_offline(void **unused)
{
	static const char body[] =
		"{\"version\":0,\"externalId\":\"c\",\"state\":\"offline\",\"stateTimestamp\":\"2026-01-01T00:00:00Z\","
		"\"properties\":{\"celld.definition\":{\"cellId\":\"c\",\"name\":\"n\",\"type\":\"edge\",\"region\":\"r\","
		"\"provider\":\"p\",\"capacity\":{\"maxVPAs\":9},\"infrastructure\":{},\"labels\":{}}},"
		"\"celld\":{\"mode\":\"%s\",\"epoch\":3,\"health\":\"%s\",\"healthSince\":1000}}";
	static const struct {
		const char *mode, *health, *state, *since;
	} cases[] = {
		{"ready", "healthy", "active", NULL},
		{"ready", "suspect", "active", NULL},
		{"ready", "unreachable", "offline", "1970-01-01T00:00:01.000Z"},
		{"cordoned", "unreachable", "offline", "1970-01-01T00:00:01.000Z"},
		{"ready", "isolated", "active", NULL},
		{"ready", "flapping", "active", NULL},
		{"fenced", "healthy", "offline", "2026-01-01T00:00:00Z"},
		{"ready", "degraded", "active", NULL},
	};
	(void)unused;
	const struct cell_record *cell = NULL;
	char *profile = deploy(), *pending = NULL, record[128], text[1024];
	assert_int_equal(take(0, response(profile, "deploy", true, "")), BUS_ACK);
	pending = deploy();
	snprintf(record, sizeof(record), "%s/%s", tenant, profile);
	char *before = text_copy(text_of(fixture_body(RECORD_PARTICIPANT_PROFILE, record)));
	cells_each(cells[0], take_first, &cell);
	char *id = text_copy(text_of(cell->id));
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		snprintf(text, sizeof(text), body, cases[i].mode, cases[i].health); /* NOLINT: a literal of this test */
		fixture_put(RECORD_CELL, id, text);
		must_show(i % 2, profile, cases[i].state, cases[i].since);
		must_show(i % 2, pending, "pending", NULL); /* what is under way is not gone */
		assert_string_equal(fixture_body(RECORD_PARTICIPANT_PROFILE, record), before);
	}
	free(before);
	free(id);
	free(profile);
	free(pending);
}

static void a_long_query_is_read_in_turns(void **unused)
{
	enum { COUNT = 100 };
	char filler[4096], body[4300], id[64];
	(void)unused;
	memset(filler, 'x', sizeof(filler));
	filler[sizeof(filler) - 1] = 0;
	for (size_t i = 0; i < COUNT; i++) {
		snprintf(id, sizeof(id), "many-%03zu", i);
		snprintf(body, sizeof(body), "{\"id\":\"%s\",\"version\":0,\"properties\":{\"n\":%zu,\"filler\":\"%s\"}}", id,
			i, filler);
		fixture_put(RECORD_TENANT, id, body);
	}
	begin(0, "POST", "/api/v1alpha1/tenants/query", "{\"predicate\":\"properties.n < 90\",\"offset\":2,\"limit\":3}");
	size_t turns = 0;
	while (tasks != NULL) {
		struct task *task = tasks;
		tasks = NULL;
		tasks_end = &tasks;
		task->run(task);
		if (++turns == 2) { /* what has been read does not count again, what is ahead does */
			fixture_put(RECORD_TENANT, "many-000x", "{\"id\":\"many-000x\",\"version\":0,\"properties\":{\"n\":1}}");
			fixture_put(RECORD_TENANT, "many-089x", "{\"id\":\"many-089x\",\"version\":0,\"properties\":{\"n\":1}}");
		}
	}
	assert_true(turns > 4);
	assert_int_equal(shot.status, 200);
	assert_string_equal(shot.total, "92"); /* 90, the tenant of the world, and the one that came ahead */
	struct json *list = answered();
	assert_int_equal(json_count(list), 3);
	json_free(list);
	leave();
}

/* Their ids, of two tenants, in order of a number that the body names. */
static void put_profile(size_t number, const char *state)
{
	char id[128], body[512];
	snprintf(id, sizeof(id), "%s/%08zx-0000-4000-8000-000000000000", number % 4 == 3 ? "other" : tenant, number);
	snprintf(body, sizeof(body),
		"{\"id\":\"%s\",\"version\":0,\"identifier\":\"did:web:%zu\",\"tenantId\":\"%.*s\",\"vpas\":[{\"id\":\"v\","
		"\"state\":\"%s\",\"type\":\"cfm.connector\",\"cellId\":\"c\"}],\"error\":false}",
		strchr(id, '/') + 1, number, (int)strcspn(id, "/"), id, state);
	fixture_put(RECORD_PARTICIPANT_PROFILE, id, body);
}

/* What is shown is of these numbers, in this order. */
static void must_list(const size_t *numbers, size_t count)
{
	struct json *list = answered();
	size_t at = 0;
	for (const struct json *one = json_first(list); one != NULL; one = json_next(one), at++) {
		char identifier[32];
		assert_true(at < count);
		snprintf(identifier, sizeof(identifier), "did:web:%zu", numbers[at]);
		assert_true(text_equals(json_member_text(one, "identifier"), text_of(identifier)));
	}
	assert_int_equal(at, count);
	json_free(list);
}

static void profiles_are_listed_and_found_in_portions(void **unused)
{
	enum { COUNT = 300 };
	static const char query[] = "/api/v1alpha1/participant-profiles/query";
	size_t numbers[COUNT], count = 0;
	char body[160];
	(void)unused;
	assert_int_equal(call(0, "GET", profiles_path(""), NULL), 200);
	assert_string_equal(shot.answer, "[]");
	assert_int_equal(call(0, "POST", query, "{}"), 200);
	assert_string_equal(shot.answer, "[]");
	assert_string_equal(shot.total, "0");
	for (size_t i = 0; i < COUNT; i++)
		put_profile((i * 7) % COUNT, i % 9 == 0 ? "error" : "active"); /* out of order */
	for (size_t i = 0; i < COUNT; i++) {
		if (i % 4 != 3)
			numbers[count++] = i;
	}
	assert_int_equal(call(1, "GET", profiles_path(""), NULL), 200);
	must_list(numbers, count);
	assert_int_equal(call(0, "POST", query, "{\"offset\":100,\"limit\":90}"), 200);
	for (size_t i = 0; i < 90; i++)
		numbers[i] = 100 + i;
	must_list(numbers, 90);
	assert_string_equal(shot.total, "300");
	assert_int_equal(call(0, "POST", query, "{\"offset\":1000}"), 200);
	assert_string_equal(shot.answer, "[]");
	snprintf(body, sizeof(body), "{\"predicate\":\"vpas.state = 'error' AND tenantId = 'other'\"}");
	assert_int_equal(call(0, "POST", query, body), 200);
	count = 0;
	for (size_t i = 3; i < COUNT; i += 4) {
		for (size_t j = 0; j < COUNT; j += 9) {
			if (j * 7 % COUNT == i)
				numbers[count++] = i;
		}
	}
	assert_true(count > 0);
	must_list(numbers, count);
	snprintf(body, sizeof(body), "%zu", count);
	assert_string_equal(shot.total, body);
	/* a caller that leaves */
	begin(0, "POST", query, "{\"predicate\":\"vpas.state = 'active'\",\"offset\":1,\"limit\":2}");
	leave();
	run_all();
	/* what needs the database says that it is away, what is in memory is shown */
	const struct {
		const char *method, *path, *body;
		int status;
	} reads[] = {
		{"GET", "/api/v1alpha1/tenants/other/participant-profiles", NULL, 503},
		{"GET", "/api/v1alpha1/tenants/other/participant-profiles/00000003-0000-4000-8000-000000000000", NULL, 503},
		{"POST", query, "{\"predicate\":\"vpas.state = 'active'\"}", 503},
		{"POST", query, "{\"predicate\":\"true\"}", 503},
		{"DELETE", "/api/v1alpha1/tenants/other/participant-profiles/00000003-0000-4000-8000-000000000000", NULL, 503},
		{"GET", "/api/v1alpha1/tenants", NULL, 200},
		{"GET", "/api/v1alpha1/cells", NULL, 200},
		{"GET", "/api/v1alpha1/tenants/other/participant-profiles/nonsense", NULL, 404},
	};
	fixture.is_down = true;
	for (size_t i = 0; i < sizeof(reads) / sizeof(reads[0]); i++) {
		assert_int_equal(call(0, reads[i].method, reads[i].path, reads[i].body), reads[i].status);
		assert_string_equal(shot.retry_after, reads[i].status == 503 ? "2" : "");
		if (reads[i].status == 503)
			assert_string_equal(shot.answer,
				"{\"error\":\"phrase\",\"message\":\"Service unavailable: the database cannot be reached "
				"now\",\"code\":503}");
	}
	fixture.is_down = false;
	assert_int_equal(
		call(0, "GET", "/api/v1alpha1/tenants/other/participant-profiles/00000003-0000-4000-8000-000000000000", NULL),
		200);
	assert_int_equal(call(0, "GET", profiles_path("00000003-0000-4000-8000-000000000000"), NULL), 404);
	assert_int_equal(call(0, "GET", profiles_path("nonsense"), NULL), 404);
}

#define WORLD(name) cmocka_unit_test_setup_teardown(name, open_world, close_world)

int main(void)
{
	const struct CMUnitTest tests[] = {WORLD(what_is_written_together_is_there_together),
		WORLD(a_caller_that_leaves_does_not_take_the_call_along), WORLD(a_change_by_another_replica_is_seen_and_kept),
		WORLD(an_external_id_is_given_once_even_at_the_same_moment),
		WORLD(a_tenant_with_a_participant_on_its_way_stays), WORLD(a_tenant_goes_with_nobody_of_another_replica_in_it),
		WORLD(a_deletion_that_was_cut_off_is_forgotten), WORLD(a_tenant_that_changes_meanwhile_is_read_again),
		WORLD(one_of_all_dataspaces_is_enough_when_none_is_named),
		WORLD(responses_move_vpas_and_are_acknowledged_after_the_commit), WORLD(what_cannot_be_stored_comes_again),
		WORLD(two_responses_at_once_are_both_taken), WORLD(the_cause_of_a_failure_is_found),
		WORLD(nonsense_is_parked_and_an_unknown_profile_waited_for), WORLD(cells_that_have_joined_are_told),
		WORLD(vpas_of_an_unreachable_cell_are_offline), WORLD(a_long_query_is_read_in_turns),
		WORLD(profiles_are_listed_and_found_in_portions)};
	log_threshold = LOG_ERROR;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
