/* Policies: what compiles to what, what is named as unenforceable, what is refused; values of constraints. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "server/base/timestamp.h"
#include "tenants/dp/contract/policy.h"
#include "tenants/dp/contract/policy_value.h"

#define NOON INT64_C(1800014400000) /* 2027-01-15T12:00:00Z */
#define HOUR INT64_C(3600000)
#define DAY (24 * HOUR)
#define ODRL "http://www.w3.org/ns/odrl/2/"

/* The quotes of the documents are ' */
static struct json *parse(const char *document)
{
	static char text[8192];
	struct json *root = NULL;
	size_t length = strlen(document);
	assert_true(length < sizeof(text));
	for (size_t i = 0; i < length; i++)
		text[i] = document[i] == '\'' ? '"' : document[i];
	if (json_parse((struct text){text, length}, NULL, &root) != STATUS_OK)
		fail_msg("no JSON: %s", document);
	return root;
}

static struct policy *compile(const char *document, int64_t signed_ms)
{
	struct policy *policy = NULL;
	struct buffer error = {0};
	struct json *root = parse(document);
	if (policy_compile(root, signed_ms, &policy, &error) != STATUS_OK)
		fail_msg("%s: %s", document, error.bytes);
	json_free(root);
	buffer_free(&error);
	return policy;
}

#define RULE(constraints) "{'@type':'Set','permission':[{'action':'use','constraint':[" constraints "]}]}"
#define ATOM(left, operator, right) "{'leftOperand':'" left "','operator':'" operator"','rightOperand':" right "}"
#define BEFORE(date) ATOM("dateTime", "lt", "'" date "'")

static const struct {
	const char *document;
	struct policy_facts facts; /* now_ms: behind noon */
	struct policy_grant grant; /* until_ms: behind noon; 0: none */
} cases[] = {
	/* nothing is limited */
	{RULE(""), {0}, {POLICY_NONE, 0, 0, 0}},
	{"{'permission':{'action':'odrl:use'}}", {0}, {POLICY_NONE, 0, 0, 0}},
	{"{'odrl:permission':[{'odrl:action':{'@id':'odrl:use'}}]}", {0}, {POLICY_NONE, 0, 0, 0}},
	{"{'" ODRL "permission':[{'" ODRL "action':[{'@id':'" ODRL "transfer'}]}]}", {0}, {POLICY_NONE, 0, 0, 0}},
	{"{'odrl:permission':[{'odrl:action':{'odrl:type':'USE'}}]}", {0}, {POLICY_NONE, 0, 0, 0}},
	/* time */
	{RULE(BEFORE("2027-01-15T13:00:00Z")), {0}, {POLICY_NONE, HOUR, 0, 0}},
	{RULE(BEFORE("2027-01-15T13:00:00Z")), {.now_ms = HOUR}, {POLICY_TIME, 0, 0, 0}},
	{RULE(ATOM("dateTime", "lteq", "'2027-01-15T13:00:00Z'")), {.now_ms = HOUR}, {POLICY_NONE, HOUR + 1, 0, 0}},
	{RULE(ATOM("dateTime", "gteq", "'2027-01-15T13:00:00Z'")), {.now_ms = HOUR - 1}, {POLICY_TIME, 0, 0, 0}},
	{RULE(ATOM("dateTime", "gteq", "'2027-01-15T14:00:00+01:00'")), {.now_ms = HOUR}, {POLICY_NONE, 0, 0, 0}},
	{RULE(ATOM("dateTime", "gt", "'2027-01-15T13:00:00'")), {.now_ms = HOUR}, {POLICY_TIME, 0, 0, 0}},
	{RULE(ATOM("dateTime", "gteq", "'2027-01-01'") "," ATOM("dateTime", "lteq", "'2027-01-15'")), {0},
		{POLICY_NONE, 12 * HOUR, 0, 0}},
	{RULE(ATOM("odrl:dateTime", "odrl:lt", "{'@value':'2027-01-15T13:00:00Z','@type':'xsd:dateTime'}")), {0},
		{POLICY_NONE, HOUR, 0, 0}},
	{RULE("{'" ODRL "leftOperand':{'@id':'" ODRL "dateTime'},'" ODRL "operator':[{'@id':'" ODRL "lt'}],'" ODRL
		  "rightOperand':[{'@value':'2027-01-15T13:00:00Z'}]}"),
		{0}, {POLICY_NONE, HOUR, 0, 0}},
	/* agreed a day before noon */
	{RULE(ATOM("https://w3id.org/edc/v0.0.1/ns/inForceDate", "lteq", "'contractAgreement+1d'")), {0},
		{POLICY_NONE, 1, 0, 0}},
	{RULE(ATOM("edc:inForceDate", "lt", "'contractAgreement+36h'")), {0}, {POLICY_NONE, 12 * HOUR, 0, 0}},
	{RULE(ATOM("elapsedTime", "lt", "'P1DT6H'")), {0}, {POLICY_NONE, 6 * HOUR, 0, 0}},
	{RULE(ATOM("elapsedTime", "lteq", "'PT24H'")), {.now_ms = 1}, {POLICY_TIME, 0, 0, 0}},
	/* how often, how much */
	{RULE(ATOM("count", "lteq", "5")), {.requests = 4}, {POLICY_NONE, 0, 5, 0}},
	{RULE(ATOM("count", "lteq", "'5'")), {.requests = 5}, {POLICY_COUNT, 0, 0, 0}},
	{RULE(ATOM("count", "lt", "{'@value':5}")), {.requests = 4}, {POLICY_COUNT, 0, 0, 0}},
	{RULE(ATOM("count", "eq", "1")), {0}, {POLICY_NONE, 0, 1, 0}},
	{RULE(ATOM("celld:volume", "lteq", "'10 MiB'")), {.bytes = 10485759}, {POLICY_NONE, 0, 0, 10485760}},
	{RULE(ATOM("celld:volume", "lteq", "'10 MiB'")), {.bytes = 10485760}, {POLICY_VOLUME, 0, 0, 0}},
	{RULE("{'leftOperand':'volume','operator':'lteq','rightOperand':'1.5','unit':'http://qudt.org/vocab/unit/"
		  "GigaBYTE'}"),
		{0}, {POLICY_NONE, 0, 0, 1500000000}},
	/* who, where, what for */
	{RULE(ATOM("recipient", "eq", "'did:web:c'")), {.recipient = TEXT("did:web:c")}, {POLICY_NONE, 0, 0, 0}},
	{RULE(ATOM("recipient", "eq", "'did:web:c'")), {.recipient = TEXT("did:web:C")}, {POLICY_RECIPIENT, 0, 0, 0}},
	{RULE(ATOM("recipient", "isAnyOf", "['did:web:a',{'@id':'did:web:c'}]")), {.recipient = TEXT("did:web:c")},
		{POLICY_NONE, 0, 0, 0}},
	{RULE(ATOM("recipient", "isNoneOf", "{'@list':['did:web:a','did:web:c']}")), {.recipient = TEXT("did:web:c")},
		{POLICY_RECIPIENT, 0, 0, 0}},
	{RULE(ATOM("recipient", "neq", "'did:web:a'")), {.recipient = TEXT("did:web:c")}, {POLICY_NONE, 0, 0, 0}},
	{RULE(ATOM("spatial", "isPartOf", "'EU'")), {.region = TEXT("eu-de")}, {POLICY_NONE, 0, 0, 0}},
	{RULE(ATOM("spatial", "isPartOf", "'EU'")), {.region = TEXT("europe")}, {POLICY_SPATIAL, 0, 0, 0}},
	{RULE(ATOM("spatial", "hasPart", "'EU-DE'")), {.region = TEXT("EU")}, {POLICY_NONE, 0, 0, 0}},
	{RULE(ATOM("spatial", "eq", "'EU'")), {0}, {POLICY_SPATIAL, 0, 0, 0}},
	{RULE(ATOM("spatial", "neq", "'EU'")), {0}, {POLICY_SPATIAL, 0, 0, 0}}, /* not known is neither */
	{RULE(ATOM("purpose", "in", "['research','teaching']")), {.purpose = TEXT("teaching")}, {POLICY_NONE, 0, 0, 0}},
	{RULE(ATOM("odrl:industry:", "eq", "'steel'")), {.industry = TEXT("steel")}, {POLICY_NONE, 0, 0, 0}},
	{"{'permission':[{'action':'use'}],'assignee':'did:web:c','target':'d'}",
		{.recipient = TEXT("did:web:c"), .dataset = TEXT("d")}, {POLICY_NONE, 0, 0, 0}},
	{"{'permission':[{'action':'use'}],'assignee':{'@id':'did:web:c'}}", {.recipient = TEXT("did:web:x")},
		{POLICY_RECIPIENT, 0, 0, 0}},
	{"{'permission':[{'action':'use','target':'d'}]}", {.dataset = TEXT("e")}, {POLICY_DATASET, 0, 0, 0}},
	/* several */
	{RULE(BEFORE("2027-01-15T14:00:00Z") "," BEFORE("2027-01-15T13:00:00Z") "," ATOM("count", "lteq", "5")), {0},
		{POLICY_NONE, HOUR, 5, 0}},
	{RULE("{'or':[" BEFORE("2027-01-15T11:00:00Z") "," BEFORE("2027-01-15T13:00:00Z") "]}"), {0},
		{POLICY_NONE, HOUR, 0, 0}},
	{RULE("{'or':[{'and':[" ATOM("count", "lteq", "5") "," ATOM("purpose", "eq", "'a'") "]}," ATOM(
		 "count", "lteq", "2") "]}"),
		{.requests = 3, .purpose = TEXT("b")}, {POLICY_PURPOSE, 0, 0, 0}},
	{RULE("{'andSequence':[" ATOM("count", "lteq", "5") "," ATOM("volume", "lteq", "9") "]}"), {0},
		{POLICY_NONE, 0, 5, 9}},
	/* exactly one: the second begins to hold at one o'clock, and then neither counts */
	{RULE("{'xone':[" ATOM("recipient", "eq", "'c'") "," ATOM("dateTime", "gteq", "'2027-01-15T13:00:00Z'") "]}"),
		{.recipient = TEXT("c")}, {POLICY_NONE, HOUR, 0, 0}},
	{RULE("{'xone':[" ATOM("recipient", "eq", "'c'") "," ATOM("dateTime", "gteq", "'2027-01-15T13:00:00Z'") "]}"),
		{.recipient = TEXT("c"), .now_ms = HOUR}, {POLICY_TIME, 0, 0, 0}},
	{RULE("{'xone':[" ATOM("recipient", "eq", "'c'") "," ATOM("dateTime", "gteq", "'2027-01-15T13:00:00Z'") "]}"),
		{.recipient = TEXT("d"), .now_ms = HOUR}, {POLICY_NONE, 0, 0, 0}},
	/* permissions: one is enough */
	{"{'permission':[{'action':'use','constraint':[" ATOM(
		 "purpose", "eq", "'a'") "]},"
								 "{'action':'read','constraint':[" ATOM("purpose", "eq", "'b'") "]}]}",
		{.purpose = TEXT("b")}, {POLICY_NONE, 0, 0, 0}},
	/* prohibitions: one is too much */
	{"{'permission':[{'action':'use'}],'prohibition':[{'action':'use'}]}", {0}, {POLICY_PROHIBITED, 0, 0, 0}},
	{"{'prohibition':[{'action':'use','constraint':[" ATOM("dateTime", "gteq", "'2027-01-15T13:00:00Z'") "]}]}", {0},
		{POLICY_NONE, HOUR, 0, 0}},
	{"{'prohibition':[{'action':'use','constraint':[" ATOM("spatial", "isPartOf", "'US'") "]}]}",
		{.region = TEXT("us-ca")}, {POLICY_SPATIAL, 0, 0, 0}},
	{"{'prohibition':[{'action':'use','constraint':[" ATOM("spatial", "isPartOf", "'US'") "]}]}", {0},
		{POLICY_SPATIAL, 0, 0, 0}},
	{"{'prohibition':[{'action':'use','constraint':[" ATOM("spatial", "eq", "'US'") "," BEFORE(
		 "2027-01-15T13:00:00Z") "]}]}",
		{.region = TEXT("US")}, {POLICY_SPATIAL, 0, 0, 0}},
	{"{'prohibition':[{'action':'use','constraint':[" ATOM("spatial", "eq", "'US'") "," BEFORE(
		 "2027-01-15T13:00:00Z") "]}]}",
		{.region = TEXT("US"), .now_ms = HOUR}, {POLICY_NONE, 0, 0, 0}},
	/* a refinement of the action binds as a constraint does */
	{"{'permission':[{'action':{'rdf:value':{'@id':'odrl:use'},'refinement':[" ATOM("count", "lteq", "2") "]}}]}", {0},
		{POLICY_NONE, 0, 2, 0}},
};

static void test_judging(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct policy_facts facts = cases[i].facts;
		const struct policy_grant *want = &cases[i].grant;
		struct policy *policy = compile(cases[i].document, NOON - DAY);
		facts.now_ms += NOON;
		struct policy_grant grant = policy_judge(policy, &facts);
		if (policy_unenforceable_count(policy) > 0)
			fail_msg("%s: %s", cases[i].document, policy_unenforceable(policy, 0));
		if (grant.reason != want->reason)
			fail_msg("%s: %s", cases[i].document, policy_reason_name(grant.reason));
		if (grant.reason == POLICY_NONE) {
			assert_int_equal(grant.until_ms, want->until_ms == 0 ? INT64_MAX : NOON + want->until_ms);
			assert_int_equal(grant.requests, want->requests == 0 ? UINT64_MAX : want->requests);
			assert_int_equal(grant.bytes, want->bytes == 0 ? UINT64_MAX : want->bytes);
		}
		policy_free(policy);
	}
}

/* What cannot be enforced is named, once, and counts as met on either side. */
static void test_unenforceable(void **state)
{
	static const struct {
		const char *document, *flags; /* joined by ; */
	} rows[] = {
		{RULE(ATOM("payAmount", "eq", "5")), "leftOperand payAmount"},
		{RULE(ATOM("payAmount", "eq", "5") "," ATOM("payAmount", "lt", "7")), "leftOperand payAmount"},
		{RULE(ATOM("https://w3id.org/catenax/policy/FrameworkAgreement", "eq", "'x'")),
			"leftOperand https://w3id.org/catenax/policy/FrameworkAgreement"},
		{RULE(ATOM("celld:count", "lteq", "5")), "leftOperand celld:count"},
		{RULE(ATOM("dateTime", "eq", "'2027-01-15'")), "constraint dateTime eq"},
		{RULE(ATOM("count", "gteq", "5")), "constraint count gteq"},
		{RULE(ATOM("recipient", "isPartOf", "'x'")), "constraint recipient isPartOf"},
		{RULE(ATOM("spatial", "isAllOf", "['x']")), "constraint spatial isAllOf"},
		{RULE("{'leftOperand':'count','operator':'lt','rightOperand':5,'unit':'day'}"), "unit of count"},
		{RULE("{'leftOperand':'count','operator':'lt','rightOperandReference':'http://x'}"),
			"rightOperandReference of count"},
		{RULE("{'leftOperand':'count','operator':'lt','rightOperand':5,'weight':1}"), "member weight"},
		{"{'permission':[{'action':'use','duty':[{'action':'compensate'}]}]}", "duty compensate"},
		{"{'permission':[{'action':'use'}],'obligation':[{'action':'odrl:delete'},{'action':'inform'}]}",
			"obligation delete;obligation inform"},
		{"{'permission':[{'action':'use'}],'prohibition':[{'action':'distribute'}]}", "prohibition of distribute"},
		{"{'permission':[{'action':'display'}]}", "permission of display"},
		{"{'permission':[{'action':'use','assignee':{'@type':'PartyCollection'}}]}", "member assignee"},
		{"{'permission':[{'action':'use'}],'inheritFrom':'http://x','conflict':'perm','news':1}",
			"member news;member inheritFrom;member conflict"},
		{"{'prohibition':[{'action':'use','constraint':[" ATOM("payAmount", "eq", "5") "]}]}", "leftOperand payAmount"},
	};
	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct policy *policy = compile(rows[i].document, 0);
		struct buffer flags = {0};
		for (size_t j = 0; j < policy_unenforceable_count(policy); j++)
			buffer_printf(&flags, "%s%s", j == 0 ? "" : ";", policy_unenforceable(policy, j));
		assert_string_equal(flags.bytes == NULL ? rows[i].document : flags.bytes, rows[i].flags);
		const struct policy_facts facts = {.now_ms = NOON};
		assert_int_equal(policy_judge(policy, &facts).reason, POLICY_NONE);
		buffer_free(&flags);
		policy_free(policy);
	}
	/* without the agreement's date nothing can be counted from it */
	struct policy *policy = compile(RULE(ATOM("elapsedTime", "lt", "'P1D'")), 0);
	assert_int_equal(policy_unenforceable_count(policy), 1);
	policy_free(policy);
	/* the policy's own goes before the record's */
	policy = compile("{'timestamp':'2027-01-15T12:00:00Z','permission':[{'action':'use','constraint':[" ATOM(
						 "elapsedTime", "lt", "'PT1H'") "]}]}",
		NOON - DAY);
	const struct policy_facts facts = {.now_ms = NOON};
	assert_int_equal(policy_judge(policy, &facts).until_ms, NOON + HOUR);
	policy_free(policy);
}

static void test_refused(void **state)
{
	static const struct {
		const char *document, *error;
	} rows[] = {
		{"[]", "policy: must be an object"},
		{"{}", "policy: a permission or a prohibition is needed"},
		{"{'permission':[]}", "policy: a permission or a prohibition is needed"},
		{"{'permission':['use']}", "permission: must be objects with an action"},
		{"{'prohibition':[{}]}", "prohibition: must be objects with an action"},
		{"{'permission':[{'action':'use'}],'odrl:permission':[{'action':'use'}]}", "odrl:permission: is given twice"},
		{RULE("5"), "constraint: must be an object"},
		{RULE("{}"), "leftOperand: is missing"},
		{RULE("{'leftOperand':'count'}"), "operator: is missing"},
		{RULE("{'leftOperand':'count','operator':'lt'}"), "rightOperand: is missing"},
		{RULE("{'and':[]}"), "and: must hold constraints"},
		{RULE("{'xone':[{}]}"), "leftOperand: is missing"},
		{RULE(ATOM("dateTime", "lt", "'tomorrow'")), "dateTime: must be a date"},
		{RULE(ATOM("dateTime", "lt", "['2027-01-15','2027-01-16']")), "dateTime: must be a date"},
		{RULE(ATOM("inForceDate", "lt", "'contractAgreement * 5d'")), "inForceDate: must be a date, or like"},
		{RULE(ATOM("elapsedTime", "lt", "'P1M'")), "elapsedTime: must be a duration"},
		{RULE(ATOM("count", "lt", "-1")), "count: must be a whole number"},
		{RULE(ATOM("count", "lt", "'1.5'")), "count: must be a whole number"},
		{RULE(ATOM("volume", "lt", "'5 apples'")), "volume: must be an amount of bytes"},
		{RULE(ATOM("recipient", "eq", "[]")), "recipient: must name something"},
		{RULE(ATOM("recipient", "eq", "''")), "recipient: must be a text"},
	};
	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct policy *policy = NULL;
		struct buffer error = {0};
		struct json *root = parse(rows[i].document);
		assert_int_equal(policy_compile(root, NOON, &policy, &error), STATUS_INVALID);
		if (!text_starts_with(buffer_text(&error), text_of(rows[i].error)))
			fail_msg("%s: %s", rows[i].document, error.bytes);
		json_free(root);
		buffer_free(&error);
	}
}

/* An exclusive or of exclusive ors grows beyond all bounds: it is refused, quickly. */
static void test_too_large(void **state)
{
	struct buffer text = {0}, error = {0};
	struct json *root = NULL;
	struct policy *policy = NULL;
	(void)state;
	buffer_append(&text, TEXT("{'permission':[{'action':'use','constraint':["));
	for (int i = 0; i < 12; i++)
		buffer_append(&text, TEXT("{'xone':[" ATOM("count", "lt", "5") "," ATOM("count", "lt", "6") ","));
	buffer_append(&text, TEXT(ATOM("count", "lt", "7")));
	for (int i = 0; i < 12; i++)
		buffer_append(&text, TEXT("]}"));
	buffer_append(&text, TEXT("]}]}"));
	root = parse(text.bytes);
	assert_int_equal(policy_compile(root, 0, &policy, &error), STATUS_TOO_LARGE);
	json_free(root);
	buffer_free(&text);
	buffer_free(&error);
}

static void test_values(void **state)
{
	static const struct {
		const char *text;
		int64_t value; /* -1: refused */
		bool is_day;
	} times[] = {
		{"1970-01-01T00:00:00Z", 0, false},
		{"1970-01-01", 0, true},
		{"2000-02-29T00:00:00Z", 951782400000, false},
		{"2027-01-15T12:00:00Z", NOON, false},
		{"2027-01-15T12:00:00.1239Z", NOON + 123, false},
		{"2027-01-15T14:00:00+02:00", NOON, false},
		{"2027-01-15T06:30:00-05:30", NOON, false},
		{"2027-01-14T24:00:00Z", NOON - 12 * HOUR, false},
		{"9999-12-31T23:59:59Z", 253402300799000, false},
		{"2027-01-15Z", NOON - 12 * HOUR, true},
		{"2027-02-29", -1, false},
		{"2100-02-29", -1, false},
		{"2027-13-01", -1, false},
		{"2027-00-01", -1, false},
		{"1969-12-31", -1, false},
		{"2027-01-15T25:00:00Z", -1, false},
		{"2027-01-15T24:00:01Z", -1, false},
		{"2027-01-15T12:60:00Z", -1, false},
		{"2027-01-15T12:00:00.Z", -1, false},
		{"2027-01-15T12:00:00+15:00", -1, false},
		{"2027-01-15T12:00:00Z ", -1, false},
		{"2027-1-15", -1, false},
		{"", -1, false},
		{"2027-01-15T12:00", -1, false},
	};
	static const struct {
		const char *text;
		int64_t value;
	} spans[] = {{"P1D", DAY}, {"PT1H", HOUR}, {"P1DT1H1M1.5S", DAY + HOUR + 61500}, {"30d", 30 * DAY},
		{"90m", HOUR * 3 / 2}, {"1.5h", HOUR * 3 / 2}, {"10s", 10000}, {"P", -1}, {"PT", -1}, {"P1DT", -1}, {"P1M", -1},
		{"P1Y", -1}, {"PT1D", -1}, {"1", -1}, {"d", -1}, {"1d1h", -1}, {"", -1}, {"P999999999D", -1}, {"-1d", -1},
		{"P1d", -1}},
	  amounts[] = {{"0", 0}, {"4096", 4096}, {"1 KiB", 1024}, {"1kb", 1000}, {"1.5GiB", INT64_C(1610612736)},
		  {"0.5 B", 0}, {"2 TB", INT64_C(2000000000000)}, {"1 MegaByte", 1000000}, {"10 EB", -1}, {"9999999 TB", -1},
		  {"GB", -1}, {"1.", -1}, {"-1", -1}, {"1e3", -1}, {"1  GiB  ", INT64_C(1073741824)}};
	(void)state;
	for (size_t i = 0; i < sizeof(times) / sizeof(times[0]); i++) {
		int64_t value = -1;
		bool is_day = false;
		enum status status = time_parse(text_of(times[i].text), &value, &is_day);
		if ((status == STATUS_OK ? value : -1) != times[i].value || (status == STATUS_OK && is_day != times[i].is_day))
			fail_msg("%s: %lld", times[i].text, (long long)value);
	}
	for (size_t i = 0; i < sizeof(spans) / sizeof(spans[0]); i++) {
		int64_t value = -1;
		enum status status = span_parse(text_of(spans[i].text), &value);
		if ((status == STATUS_OK ? value : -1) != spans[i].value)
			fail_msg("%s: %lld", spans[i].text, (long long)value);
	}
	for (size_t i = 0; i < sizeof(amounts) / sizeof(amounts[0]); i++) {
		uint64_t value = 0;
		enum status status = bytes_parse(text_of(amounts[i].text), TEXT_NONE, &value);
		if ((status == STATUS_OK ? (int64_t)value : -1) != amounts[i].value)
			fail_msg("%s: %lld", amounts[i].text, (long long)value);
	}
	uint64_t bytes;
	assert_int_equal(bytes_parse(TEXT("1 MB"), TEXT("MB"), &bytes), STATUS_INVALID);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_judging), cmocka_unit_test(test_unenforceable),
		cmocka_unit_test(test_refused), cmocka_unit_test(test_too_large), cmocka_unit_test(test_values)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
