/* Scopes: <api>[:<resource>|:*]:<action>. */
#include "tenants/scope.h"

static bool action_find(struct text name, enum access_action *action)
{
	static const struct text names[] = {
		[ACCESS_READ] = {"read", 4}, [ACCESS_WRITE] = {"write", 5}, [ACCESS_ADMIN] = {"admin", 5}};
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		if (text_equals(name, names[i])) {
			*action = (enum access_action)i;
			return true;
		}
	}
	return false;
}

struct scope {
	struct text api, resource; /* resource absent: all */
	enum access_action action;
};

static bool scope_parse(struct text text, struct scope *scope)
{
	struct text parts[3];
	size_t count = 0;
	bool done = false;
	for (struct text part; text_next_part(&text, ':', &part, &done); count++) {
		if (count == 3 || part.length == 0)
			return false;
		parts[count] = part;
	}
	if (count < 2 || !action_find(parts[count - 1], &scope->action))
		return false;
	scope->api = parts[0];
	scope->resource = count == 3 && !text_equals(parts[1], TEXT("*")) ? parts[1] : TEXT_NONE;
	return true;
}

bool scope_satisfies(
	struct text scopes, struct text api, struct text resource, enum access_action action, bool *everywhere)
{
	bool satisfied = false, done = false;
	struct scope scope;
	*everywhere = false;
	for (struct text part; text_next_part(&scopes, ' ', &part, &done);) {
		if (!scope_parse(part, &scope) || !text_equals(scope.api, api) || scope.action < action)
			continue;
		bool all = scope.resource.bytes == NULL;
		if (!all && (resource.length == 0 || !text_equals(scope.resource, resource)))
			continue;
		satisfied = true;
		*everywhere = *everywhere || (all && scope.action == ACCESS_ADMIN);
	}
	return satisfied;
}
