/* The two clocks: monotonic for durations and timers, wall for tokens and logs. */
#pragma once

#include <stdint.h>

uint64_t clock_monotonic_ns(void);
uint64_t clock_monotonic_ms(void);
/* The same, and it goes on while the machine sleeps: for leases. */
uint64_t clock_boot_ms(void);
/* Milliseconds since 1970-01-01 UTC. */
int64_t clock_wall_ms(void);
/* Writes "2026-11-23T10:20:30.123Z" and a NUL: 25 bytes. */
void clock_format(int64_t wall_ms, char into[25]);
