/* Any bytes as a policy: what compiles is judged without harm, in time, and what was granted holds until its limits. */
#include <stdlib.h>

#include "server/base/timestamp.h"
#include "tenants/dp/contract/policy.h"
#include "tenants/dp/contract/policy_value.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length);

static void judge_check(const struct policy *policy, struct policy_facts facts)
{
	struct policy_grant grant = policy_judge(policy, &facts);
	if (grant.reason != POLICY_NONE)
		return;
	if (grant.until_ms <= facts.now_ms || grant.requests <= facts.requests || grant.bytes <= facts.bytes)
		abort();
	if (grant.until_ms != INT64_MAX)
		facts.now_ms = grant.until_ms - 1;
	if (policy_judge(policy, &facts).reason != POLICY_NONE)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
	struct text text = {(const char *)bytes, length};
	struct json *root = NULL;
	struct policy *policy = NULL;
	struct buffer error = {0};
	int64_t value;
	uint64_t count;
	bool is_day;
	if (time_parse(text, &value, &is_day) == STATUS_OK && value < -50400000)
		abort();
	if (span_parse(text, &value) == STATUS_OK && value < 0)
		abort();
	if (bytes_parse(text, TEXT_NONE, &count) == STATUS_OK && count > (uint64_t)1 << 54)
		abort();
	if (json_parse(text, NULL, &root) != STATUS_OK)
		return 0;
	enum status status = policy_compile(root, 1800000000000, &policy, &error);
	if (status == STATUS_OK) {
		const struct text fact = TEXT("EU");
		judge_check(policy, (struct policy_facts){.now_ms = 1800000000000});
		judge_check(policy, (struct policy_facts){1800000000000, 3, 4096, fact, fact, fact, fact, fact});
	} else if (error.length == 0) {
		abort();
	}
	policy_free(policy);
	json_free(root);
	buffer_free(&error);
	return 0;
}
