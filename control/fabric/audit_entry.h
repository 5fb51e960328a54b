/* An entry of the audit (fleet/audit.h): written in the commit of what it tells of, it waits there to be sealed. */
#pragma once

#include "control/state/state.h"

/* by: who asked for it, absent: nobody but the manager or the cell; detail may be NULL. False: out of memory. */
bool audit_add(
	struct transaction *transaction, const char *what, struct text cell_id, struct text by, const char *detail);
/* With these members behind "at" and "what": JSON, without braces. */
bool audit_add_members(struct transaction *transaction, const char *what, struct text members);
