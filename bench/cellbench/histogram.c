/* Histograms. */
#include "bench/cellbench/histogram.h"

enum { STEP_BITS = 7 };

static unsigned bucket_of(uint64_t value)
{
	if (value < HISTOGRAM_STEPS)
		return (unsigned)value;
	unsigned octave = 63 - (unsigned)__builtin_clzll(value) - STEP_BITS; /* how far to shift to get 128..255 */
	unsigned bucket = (octave + 1) * HISTOGRAM_STEPS + (unsigned)(value >> octave) - HISTOGRAM_STEPS;
	return bucket < HISTOGRAM_OCTAVES * HISTOGRAM_STEPS ? bucket : HISTOGRAM_OCTAVES * HISTOGRAM_STEPS - 1;
}

static uint64_t edge_of(unsigned bucket)
{
	if (bucket < HISTOGRAM_STEPS)
		return bucket;
	unsigned octave = bucket / HISTOGRAM_STEPS - 1;
	return ((uint64_t)(bucket % HISTOGRAM_STEPS + HISTOGRAM_STEPS + 1) << octave) - 1;
}

void histogram_add(struct histogram *histogram, uint64_t nanoseconds)
{
	histogram->buckets[bucket_of(nanoseconds)]++;
	histogram->count++;
	histogram->sum += (double)nanoseconds;
	if (nanoseconds > histogram->maximum)
		histogram->maximum = nanoseconds;
}

void histogram_merge(struct histogram *into, const struct histogram *from)
{
	for (unsigned i = 0; i < HISTOGRAM_OCTAVES * HISTOGRAM_STEPS; i++)
		into->buckets[i] += from->buckets[i];
	into->count += from->count;
	into->sum += from->sum;
	if (from->maximum > into->maximum)
		into->maximum = from->maximum;
}

uint64_t histogram_at(const struct histogram *histogram, double share)
{
	if (histogram->count == 0)
		return 0;
	double exact = share * (double)histogram->count;
	uint64_t rank = (uint64_t)exact, seen = 0;
	if ((double)rank < exact || rank == 0)
		rank++;
	for (unsigned i = 0; i < HISTOGRAM_OCTAVES * HISTOGRAM_STEPS; i++) {
		seen += histogram->buckets[i];
		if (seen >= rank)
			return edge_of(i) < histogram->maximum ? edge_of(i) : histogram->maximum;
	}
	return histogram->maximum;
}

double histogram_mean(const struct histogram *histogram)
{
	return histogram->count == 0 ? 0 : histogram->sum / (double)histogram->count;
}
