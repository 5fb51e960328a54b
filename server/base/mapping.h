/* Memory that is a mapped file: the file may be truncated while somebody reads it. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "server/base/status.h"

/* Installs the process-wide SIGBUS handler that makes a truncated mapping an error of mapping_copy; any other SIGBUS
 * keeps its default action. */
enum status mapping_guard_install(void) MUST_CHECK;
/* Copies `length` bytes at `offset` of the mapping [start, start + mapped). IO: a page of it is not there any more (it
 * reads as zeros from now on; what was copied is worthless). Any memory will do: what is no mapping is just copied. */
enum status mapping_copy(const uint8_t *start, size_t mapped, size_t offset, uint8_t *into, size_t length);
