/* Conditions of a consumer's request on their way to a source, and the source's tag on its way back: the consumer knows
 * tags that are bound to the dataset (validator.h), the source its own. For sources that answer requests of their own.
 */
#pragma once

#include "tenants/dp/pull.h"

enum passage { PASSES, PASSES_NOT, PASSAGE_FAILED /* out of memory */ };

/* A header of the consumer's request as the source may see it; lives as long as the exchange. Headers that are no
 * condition pass as they are. */
enum passage condition_pass(const struct pull *pull, const struct header *header, struct header *into) MUST_CHECK;
/* If-Match without a tag of this dataset: 412, whatever the source has. */
bool conditions_fail(const struct pull *pull);
/* Adds the source's tag to the answer, bound; one that is no tag goes no further. False: out of memory, or too many
 * headers. */
bool conditions_add_tag(const struct pull *pull, struct text tag);
