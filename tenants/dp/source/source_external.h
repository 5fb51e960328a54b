/* Datasets whose bytes travel on a wire that is not ours: the cell only signals for them. Properties, all optional:
 * readyAfterMs, completeAfterMs (decimal milliseconds), endpoint (where the bytes are, in offered addresses). */
#pragma once

#include "tenants/dp/dataset.h"

struct external_source {
	int64_t ready_after_ms;    /* prepare and start are answered before all is there; 0: at once */
	int64_t complete_after_ms; /* a started flow ends by itself; 0: never */
	char *endpoint;            /* NULL: the cell's own */
};
/* NULL: the dataset is of another type. */
const struct external_source *dataset_external(const struct dataset *dataset);
