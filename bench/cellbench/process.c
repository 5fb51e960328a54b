/* Reading /proc. */
#include "bench/cellbench/process.h"

#include <ctype.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PATH_ROOM = 96 };

static FILE *open_of(long pid, long thread, const char *name)
{
	char path[PATH_ROOM];
	if (thread > 0)
		snprintf(path, sizeof(path), "/proc/%ld/task/%ld/%s", pid, thread, name);
	else
		snprintf(path, sizeof(path), "/proc/%ld/%s", pid, name);
	return fopen(path, "re");
}

static int64_t read_memory(long pid)
{
	FILE *file = open_of(pid, 0, "smaps_rollup");
	char line[256];
	long long kib = -1;
	while (file != NULL && kib < 0 && fgets(line, sizeof(line), file) != NULL) {
		if (strncmp(line, "Pss:", 4) == 0)
			kib = strtoll(line + 4, NULL, 10);
	}
	if (file != NULL)
		fclose(file);
	return kib;
}

static void read_thread(long pid, long thread, struct process_use *use)
{
	unsigned long long nanoseconds = 0;
	long child;
	FILE *file = open_of(pid, thread, "schedstat");
	if (file != NULL && fscanf(file, "%llu", &nanoseconds) == 1)
		use->cpu_seconds += (double)nanoseconds / 1e9;
	if (file != NULL)
		fclose(file);
	file = open_of(pid, thread, "children");
	while (file != NULL && fscanf(file, "%ld", &child) == 1) {
		struct process_use of_child;
		if (process_read(child, &of_child) != STATUS_OK)
			continue;
		use->cpu_seconds += of_child.cpu_seconds;
		use->memory_kib += of_child.memory_kib;
		use->processes += of_child.processes;
	}
	if (file != NULL)
		fclose(file);
}

enum status process_read(long pid, struct process_use *use)
{
	char path[PATH_ROOM];
	snprintf(path, sizeof(path), "/proc/%ld/task", pid);
	DIR *threads = opendir(path);
	int64_t memory_kib = read_memory(pid);
	*use = (struct process_use){.memory_kib = memory_kib, .processes = 1};
	if (threads == NULL || memory_kib < 0) {
		if (threads != NULL)
			closedir(threads);
		return STATUS_NOT_FOUND;
	}
	for (struct dirent *entry; (entry = readdir(threads)) != NULL;) {
		if (isdigit((unsigned char)entry->d_name[0]))
			read_thread(pid, strtol(entry->d_name, NULL, 10), use);
	}
	closedir(threads);
	return STATUS_OK;
}
