/* The access log: one line for each request. */
#pragma once

#include "server/stream.h"

void access_log_write(const struct stream *stream, enum status outcome, int64_t took_us);
