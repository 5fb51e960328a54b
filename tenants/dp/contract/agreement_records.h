/* Agreements from records. On the store's thread, or the loading one. */
#pragma once

#include "tenants/dp/state.h"

/* For one more flow, with its lanes; NULL: out of memory. */
struct agreement *agreement_join(struct dp *dp, struct text ctx, struct text id);
/* One flow less: it may be gone at once. */
void agreement_leave(struct dp *dp, struct agreement *agreement);
/* An AGREEMENT's record has come. INVALID (one line in `error`): it cannot be read, and allows nothing. */
enum status agreement_on_record(
	struct dp *dp, const struct record *record, const struct json *body, struct buffer *error) MUST_CHECK;
void agreement_on_gone(struct dp *dp, const struct record *record);
/* The totals a cell has stored for it; is_counted: this process has counted them itself. */
enum status agreement_on_book(struct dp *dp, struct text ctx, struct text id, struct text cell,
	const struct book_totals *totals, bool is_counted) MUST_CHECK;
void agreement_on_book_gone(struct dp *dp, struct text ctx, struct text id, struct text cell);
