/* A log-linear histogram of durations: 128 steps an octave, so that a percentile is at most 0.8 % off. Nanoseconds. */
#pragma once

#include <stdint.h>

enum { HISTOGRAM_STEPS = 128, HISTOGRAM_OCTAVES = 40 };

/* All-zero is an empty one. */
struct histogram {
	uint64_t count, maximum;
	double sum;
	uint64_t buckets[HISTOGRAM_OCTAVES * HISTOGRAM_STEPS];
};

void histogram_add(struct histogram *histogram, uint64_t nanoseconds);
void histogram_merge(struct histogram *into, const struct histogram *from);
/* The upper edge of the bucket that holds the share 0..1 of all values, never more than the maximum; 0 when empty. */
uint64_t histogram_at(const struct histogram *histogram, double share);
double histogram_mean(const struct histogram *histogram);
