// The one file that knows Google Benchmark.
#include "bench/shim.h"

#include <benchmark/benchmark.h>

struct bench {
	benchmark::State *state;
	int64_t bytes;
};

int bench_continues(struct bench *bench)
{
	return bench->state->KeepRunning();
}

int64_t bench_argument(const struct bench *bench)
{
	return bench->state->range(0);
}

void bench_set_bytes(struct bench *bench, int64_t bytes_a_round)
{
	bench->bytes = bytes_a_round;
}

void bench_note(struct bench *bench, const char *name, double figure)
{
	bench->state->counters[name] = figure;
}

void bench_fail(struct bench *bench, const char *why)
{
	bench->state->SkipWithError(why);
}

void bench_keep(const void *value)
{
	benchmark::DoNotOptimize(value);
}

void bench_register(const char *name, void (*run)(struct bench *bench), const int64_t *arguments, size_t count)
{
	auto *registered = benchmark::RegisterBenchmark(name, [run](benchmark::State &state) {
		struct bench bench = {&state, 0};
		run(&bench);
		if (bench.bytes > 0)
			state.SetBytesProcessed(bench.bytes * static_cast<int64_t>(state.iterations()));
	});
	if (count == 0)
		registered->Arg(0);
	for (size_t i = 0; i < count; i++)
		registered->Arg(arguments[i]);
}

int main(int count, char **arguments)
{
	register_benches();
	benchmark::Initialize(&count, arguments);
	if (benchmark::ReportUnrecognizedArguments(count, arguments))
		return 2;
	benchmark::RunSpecifiedBenchmarks();
	return 0;
}
