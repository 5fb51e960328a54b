/* What a process and its children have used, from /proc. */
#pragma once

#include <stdint.h>

#include "server/base/text.h"

struct process_use {
	double cpu_seconds; /* of all threads of all of them */
	int64_t memory_kib; /* proportional set size */
	unsigned processes;
};

/* NOT_FOUND: there is no such process, or it may not be looked at. */
enum status process_read(long pid, struct process_use *use) MUST_CHECK;
