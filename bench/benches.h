/* The microbenchmarks: one file a subject, each with a function that registers its own. */
#pragma once

#include "bench/shim.h"

void register_route_benches(void);
void register_token_benches(void);
void register_http_benches(void);
void register_place_benches(void);
void register_beat_benches(void);
