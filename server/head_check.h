/* What both protocols refuse in a head: method, target, scheme, authority (lower-cased here; Host must agree), names of
 * fields. */
#pragma once

#include "server/exchange.h"

/* 0, or the status that refuses. */
int head_check(struct exchange *exchange);
/* The same, of names alone. */
int head_check_fields(const struct exchange *exchange);
/* By themselves: would head_check find nothing in it, and change nothing? False also where it must look closer. */
bool head_method_is_clean(struct text method);
bool head_target_is_clean(struct text target);
bool head_scheme_is_clean(struct text scheme);
bool head_authority_is_clean(struct text authority);
