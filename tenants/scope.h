/* What a token may do: scopes <api>[:<resource>|:*]:<action> (cfm.md 6.5): read < write < admin, a wider scope
 * satisfies a narrower one. */
#pragma once

#include "server/base/text.h"

enum access_action { ACCESS_READ, ACCESS_WRITE, ACCESS_ADMIN };

/* Pure: does one of the space-separated `scopes` satisfy api:resource:action? *everywhere: it was <api>:admin. */
bool scope_satisfies(
	struct text scopes, struct text api, struct text resource, enum access_action action, bool *everywhere);
