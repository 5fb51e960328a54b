/* Tables and JSON. Groups are summed; single tenants are in the JSON. */
#include "bench/cellbench/report.h"

#include <stdlib.h>
#include <string.h>

#include "bench/cellbench/report_group.h"

static double gib(uint64_t bytes)
{
	return (double)bytes / (1 << 30);
}

static double milliseconds(const struct histogram *histogram, double share)
{
	return (double)histogram_at(histogram, share) / 1e6;
}

double report_fairness(const struct run *run)
{
	double sum = 0, squares = 0;
	size_t count = run->scenario->tenant_count;
	for (size_t i = 0; i < count; i++) {
		double bytes = (double)load_result(run->load, i)->bytes;
		sum += bytes;
		squares += bytes * bytes;
	}
	return squares == 0 ? 1 : sum * sum / ((double)count * squares);
}

size_t groups_sum(const struct run *run, struct group **groups)
{
	struct group *made = NULL;
	size_t count = 0;
	for (size_t i = 0; i < run->scenario->tenant_count; i++) {
		const char *name = run->scenario->tenants[i].group;
		if (count == 0 || strcmp(made[count - 1].name, name) != 0) {
			struct group *more = realloc(made, (count + 1) * sizeof(*made));
			if (more == NULL)
				break;
			made = more;
			memset(&made[count++], 0, sizeof(*made));
			made[count - 1].name = name;
		}
		struct group *group = &made[count - 1];
		const struct tenant_result *result = load_result(run->load, i);
		histogram_merge(&group->sum.latency, &result->latency);
		histogram_merge(&group->sum.first_byte, &result->first_byte);
		group->sum.bytes += result->bytes;
		group->sum.failed += result->failed;
		group->sum.late += result->late;
		group->tenants++;
	}
	*groups = made;
	return count;
}

static void totals(const struct run *run, uint64_t *requests, uint64_t *bytes)
{
	*requests = *bytes = 0;
	for (size_t i = 0; i < run->scenario->tenant_count; i++) {
		*requests += load_result(run->load, i)->latency.count;
		*bytes += load_result(run->load, i)->bytes;
	}
}

void report_table(const struct run *run, FILE *out)
{
	struct group *groups;
	size_t count = groups_sum(run, &groups);
	uint64_t requests, bytes;
	totals(run, &requests, &bytes);
	fprintf(out, "%s: %.2f s\n\n", run->scenario->name, run->seconds);
	fprintf(out, "%-16s %7s %11s %9s %8s %8s %8s %8s %8s %7s\n", "group", "tenants", "requests/s", "MiB/s", "p50 ms",
		"p90 ms", "p99 ms", "p99.9 ms", "max ms", "failed");
	for (size_t i = 0; i < count; i++) {
		const struct tenant_result *sum = &groups[i].sum;
		fprintf(out, "%-16s %7zu %11.1f %9.1f %8.3f %8.3f %8.3f %8.3f %8.3f %7llu\n", groups[i].name, groups[i].tenants,
			(double)sum->latency.count / run->seconds, (double)sum->bytes / 1048576 / run->seconds,
			milliseconds(&sum->latency, 0.5), milliseconds(&sum->latency, 0.9), milliseconds(&sum->latency, 0.99),
			milliseconds(&sum->latency, 0.999), (double)sum->latency.maximum / 1e6, (unsigned long long)sum->failed);
		if (sum->late > 0)
			fprintf(out, "%-16s %llu requests were due and never sent\n", "", (unsigned long long)sum->late);
	}
	free(groups);
	fprintf(out, "\nfairness of bytes between tenants (Jain): %.4f\n", report_fairness(run));
	if (!run->has_process)
		return;
	double cpu = run->after.cpu_seconds - run->before.cpu_seconds;
	fprintf(out, "server: %.3f CPU-s", cpu);
	if (requests > 0)
		fprintf(out, ", %.2f us a request", cpu * 1e6 / (double)requests);
	if (bytes >= 1048576)
		fprintf(out, ", %.3f CPU-s/GiB", cpu / gib(bytes));
	fprintf(out, ", memory %.1f -> %.1f MiB\n", (double)run->before.memory_kib / 1024,
		(double)run->after.memory_kib / 1024);
}

static void print_result(const struct run *run, const struct tenant_result *result, struct buffer *into)
{
	static const struct {
		const char *name;
		double share;
	} shares[] = {{"p50", 0.5}, {"p90", 0.9}, {"p99", 0.99}, {"p99_9", 0.999}, {"p99_99", 0.9999}};
	buffer_printf(into,
		"\"requests\":%llu,\"requests_per_second\":%.3f,\"bytes\":%llu,\"failed\":%llu,\"late\":%llu,\"latency_ms\":{",
		(unsigned long long)result->latency.count, (double)result->latency.count / run->seconds,
		(unsigned long long)result->bytes, (unsigned long long)result->failed, (unsigned long long)result->late);
	buffer_printf(into, "\"mean\":%.6f,\"max\":%.6f", histogram_mean(&result->latency) / 1e6,
		(double)result->latency.maximum / 1e6);
	for (size_t i = 0; i < sizeof(shares) / sizeof(shares[0]); i++)
		buffer_printf(into, ",\"%s\":%.6f", shares[i].name, milliseconds(&result->latency, shares[i].share));
	buffer_printf(into, "},\"first_byte_ms\":{\"p50\":%.6f,\"p99\":%.6f}", milliseconds(&result->first_byte, 0.5),
		milliseconds(&result->first_byte, 0.99));
}

void report_json(const struct run *run, struct buffer *into)
{
	struct group *groups;
	size_t count = groups_sum(run, &groups);
	uint64_t requests, bytes;
	totals(run, &requests, &bytes);
	buffer_append(into, TEXT("{\"scenario\":"));
	buffer_append_json(into, text_of(run->scenario->name));
	buffer_printf(into, ",\"seconds\":%.6f,\"requests\":%llu,\"bytes\":%llu,\"fairness\":%.6f,\"groups\":[",
		run->seconds, (unsigned long long)requests, (unsigned long long)bytes, report_fairness(run));
	for (size_t i = 0; i < count; i++) {
		buffer_append(into, i > 0 ? TEXT(",{\"name\":") : TEXT("{\"name\":"));
		buffer_append_json(into, text_of(groups[i].name));
		buffer_printf(into, ",\"tenants\":%zu,", groups[i].tenants);
		print_result(run, &groups[i].sum, into);
		buffer_append_byte(into, '}');
	}
	buffer_append(into, TEXT("],\"tenants\":["));
	for (size_t i = 0; i < run->scenario->tenant_count; i++) {
		buffer_append(into, i > 0 ? TEXT(",{\"name\":") : TEXT("{\"name\":"));
		buffer_append_json(into, text_of(run->scenario->tenants[i].name));
		buffer_append_byte(into, ',');
		print_result(run, load_result(run->load, i), into);
		buffer_append_byte(into, '}');
	}
	buffer_append_byte(into, ']');
	if (run->has_process) {
		double cpu = run->after.cpu_seconds - run->before.cpu_seconds;
		buffer_printf(into, ",\"server\":{\"cpu_seconds\":%.6f,\"memory_kib\":%lld,\"processes\":%u", cpu,
			(long long)run->after.memory_kib, run->after.processes);
		if (requests > 0)
			buffer_printf(into, ",\"cpu_us_per_request\":%.4f", cpu * 1e6 / (double)requests);
		if (bytes > 0)
			buffer_printf(into, ",\"cpu_seconds_per_gib\":%.6f", cpu / gib(bytes));
		buffer_append_byte(into, '}');
	}
	buffer_append(into, TEXT("}\n"));
	free(groups);
}
