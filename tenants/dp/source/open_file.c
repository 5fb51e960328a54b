/* Open files: openat2 beneath the tenant's directory, a hash table with a least-recently-used list, mappings that
 * survive truncation. */
#include "tenants/dp/source/open_file.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "server/base/clock.h"
#include "server/base/mapping.h"
#include "tenants/dp/source/file_answer.h"

enum { REOPEN_MS = 1000, POPULATE_MAX = 64 * 1024, SEQUENTIAL_MIN = 1024 * 1024, PATH_LIMIT = 4000 };
/* The file system's clock has a grain of some milliseconds: a younger file may still change under the same times. */
enum { HELD_MAX = 16 * 1024, STILL_MS = 50 };
#define WINDOW_MAX ((int64_t)1 << 30)

struct entry {
	struct open_file file; /* first: callers hold this */
	struct entry *chain, *older, *newer;
	uint64_t hash, opened_ms, seen_ms; /* opened anew, looked at */
	unsigned users;
	bool is_listed;  /* in the table; else freed with its last user */
	uint8_t *mapped; /* the whole file, if it fits a window */
	struct file_answer *answer;
	char *key;
	size_t key_length;
};

enum { RECENT = 64 };

struct open_files {
	struct entry *recent[RECENT]; /* what was asked for last of those that share a place here; NULL: none */
	struct entry **buckets;
	size_t mask, count, limit;
	struct entry *oldest, *newest;
	int root;
};

/* --- mappings */

static uint8_t *map_file(int descriptor, int64_t offset, size_t length)
{
	int flags = MAP_SHARED | (length <= POPULATE_MAX ? MAP_POPULATE : 0);
	uint8_t *bytes = mmap(NULL, length, PROT_READ, flags, descriptor, offset);
	if (bytes == MAP_FAILED)
		return NULL;
	if (length >= SEQUENTIAL_MIN)
		madvise(bytes, length, MADV_SEQUENTIAL);
	return bytes;
}

static const uint8_t *map_whole(struct entry *entry)
{
	if (entry->mapped == NULL)
		entry->mapped = map_file(entry->file.descriptor, 0, (size_t)entry->file.size);
	return entry->mapped;
}

const uint8_t *open_file_bytes(const struct open_file *file, int64_t offset)
{
	if (file->size > WINDOW_MAX || offset >= file->size)
		return NULL;
	const uint8_t *whole = map_whole((struct entry *)(uintptr_t)file);
	return whole == NULL ? NULL : whole + offset;
}

enum status open_file_copy(
	const struct open_file *file, struct file_window *window, int64_t offset, uint8_t *into, size_t length)
{
	struct entry *entry = (struct entry *)(uintptr_t)file;
	if (file->held != NULL) {
		memcpy(into, file->held + offset, length);
		return STATUS_OK;
	}
	if (file->size <= WINDOW_MAX) {
		const uint8_t *whole = map_whole(entry);
		if (whole == NULL)
			return STATUS_NO_MEMORY;
		return mapping_copy(whole, (size_t)file->size, (size_t)offset, into, length);
	}
	while (length > 0) {
		if (window->bytes == NULL || offset < window->offset || offset >= window->offset + (int64_t)window->length) {
			file_window_close(window);
			window->offset = offset & ~(int64_t)4095;
			int64_t left = file->size - window->offset;
			window->length = (size_t)(left < WINDOW_MAX ? left : WINDOW_MAX);
			window->bytes = map_file(file->descriptor, window->offset, window->length);
			if (window->bytes == NULL)
				return STATUS_NO_MEMORY;
		}
		size_t at = (size_t)(offset - window->offset);
		size_t part = window->length - at < length ? window->length - at : length;
		enum status status = mapping_copy(window->bytes, window->length, at, into, part);
		if (status != STATUS_OK)
			return status;
		into += part;
		offset += (int64_t)part;
		length -= part;
	}
	return STATUS_OK;
}

void file_window_close(struct file_window *window)
{
	if (window->bytes != NULL)
		munmap(window->bytes, window->length);
	*window = (struct file_window){0};
}

/* --- opening */

static int64_t nanoseconds(struct timespec time)
{
	return (int64_t)time.tv_sec * 1000000000 + time.tv_nsec;
}

int open_file_beneath(int directory, const char *path, uint64_t flags, uint64_t mode)
{
	struct open_how how = {.flags = flags | O_CLOEXEC,
		.mode = mode,
		.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS};
	for (int attempt = 0; attempt < 8; attempt++) { /* EAGAIN: something was renamed while it was looked up */
		long descriptor = syscall(SYS_openat2, directory, path, &how, sizeof(how));
		if (descriptor >= 0 || (errno != EAGAIN && errno != EINTR))
			return (int)descriptor;
	}
	return -1;
}

static enum status open_regular(int root, struct text ctx, struct text path, struct open_file *file)
{
	char name[PATH_LIMIT + 1];
	if (path.length > PATH_LIMIT || ctx.length > 64 || path.length == 0)
		return STATUS_NOT_FOUND;
	memcpy(name, ctx.bytes, ctx.length);
	name[ctx.length] = 0;
	int directory = open_file_beneath(root, name, O_PATH | O_DIRECTORY, 0);
	if (directory < 0)
		return STATUS_NOT_FOUND;
	memcpy(name, path.bytes, path.length);
	name[path.length] = 0;
	int descriptor = open_file_beneath(directory, name, O_RDONLY | O_NONBLOCK | O_NOCTTY, 0);
	int error = errno;
	close(directory);
	if (descriptor < 0)
		return error == EMFILE || error == ENFILE || error == ENOMEM ? STATUS_UNAVAILABLE : STATUS_NOT_FOUND;
	struct stat found;
	if (fstat(descriptor, &found) != 0 || !S_ISREG(found.st_mode)) {
		close(descriptor);
		return STATUS_NOT_FOUND;
	}
	*file = (struct open_file){.descriptor = descriptor,
		.size = found.st_size,
		.mtime_ns = nanoseconds(found.st_mtim),
		.ctime_ns = nanoseconds(found.st_ctim),
		.inode = found.st_ino};
	http_date_format(found.st_mtim.tv_sec, file->modified);
	return STATUS_OK;
}

bool open_file_equals(const struct open_file *a, const struct open_file *b)
{
	return a->inode == b->inode && a->size == b->size && a->mtime_ns == b->mtime_ns && a->ctime_ns == b->ctime_ns;
}

bool open_file_is_same(const struct open_file *file)
{
	struct stat now;
	return fstat(file->descriptor, &now) == 0 && now.st_size == file->size &&
		   nanoseconds(now.st_mtim) == file->mtime_ns;
}

/* Stricter: also still linked, and never touched in any way. */
static bool is_current(const struct open_file *file)
{
	struct stat now;
	return fstat(file->descriptor, &now) == 0 && now.st_nlink > 0 && now.st_size == file->size &&
		   nanoseconds(now.st_mtim) == file->mtime_ns && nanoseconds(now.st_ctim) == file->ctime_ns;
}

/* --- the table */

struct open_files *open_files_new(int root, size_t limit)
{
	struct open_files *files = calloc(1, sizeof(*files));
	size_t buckets = 16;
	while (buckets < limit)
		buckets *= 2;
	if (files == NULL || (files->buckets = calloc(buckets, sizeof(files->buckets[0]))) == NULL) {
		free(files);
		return NULL;
	}
	files->mask = buckets - 1;
	files->limit = limit;
	files->root = root;
	return files;
}

static void entry_free(struct entry *entry)
{
	if (entry->mapped != NULL)
		munmap(entry->mapped, (size_t)entry->file.size);
	close(entry->file.descriptor);
	free((void *)(uintptr_t)entry->file.held);
	file_answer_leave(entry->answer);
	free(entry->key);
	free(entry);
}

static void list_leave(struct open_files *files, struct entry *entry)
{
	*(entry->older != NULL ? &entry->older->newer : &files->oldest) = entry->newer;
	*(entry->newer != NULL ? &entry->newer->older : &files->newest) = entry->older;
}

static void list_enter(struct open_files *files, struct entry *entry)
{
	entry->newer = NULL;
	entry->older = files->newest;
	*(files->newest != NULL ? &files->newest->newer : &files->oldest) = entry;
	files->newest = entry;
}

/* Cheaper than a hash: whoever makes two files share a place has them found by their hash, that is all. */
static struct entry **recent_of(struct open_files *files, struct text key)
{
	uint64_t first, last;
	if (key.length < sizeof(last))
		return &files->recent[0];
	memcpy(&first, key.bytes, sizeof(first));
	memcpy(&last, key.bytes + key.length - sizeof(last), sizeof(last));
	uint64_t mixed = (first + last * 3) * UINT64_C(0x9e3779b97f4a7c15);
	return &files->recent[mixed >> 58];
}

static struct text key_of(const struct entry *entry)
{
	return (struct text){entry->key, entry->key_length};
}

static void unlist(struct open_files *files, struct entry *entry)
{
	struct entry **recent = recent_of(files, key_of(entry));
	if (*recent == entry)
		*recent = NULL;
	struct entry **link = &files->buckets[entry->hash & files->mask];
	while (*link != entry)
		link = &(*link)->chain;
	*link = entry->chain;
	list_leave(files, entry);
	files->count--;
	entry->is_listed = false;
	if (entry->users == 0)
		entry_free(entry);
}

void open_files_free(struct open_files *files)
{
	if (files == NULL)
		return;
	while (files->oldest != NULL) {
		files->oldest->users = 0;
		unlist(files, files->oldest);
	}
	free(files->buckets);
	free(files);
}

static struct entry *find(struct open_files *files, struct text key)
{
	struct entry **recent = recent_of(files, key);
	if (*recent != NULL && text_equals(key_of(*recent), key))
		return *recent;
	uint64_t hash = text_hash(key);
	struct entry *entry = files->buckets[hash & files->mask];
	while (entry != NULL && (entry->hash != hash || !text_equals(key_of(entry), key)))
		entry = entry->chain;
	if (entry != NULL)
		*recent = entry;
	return entry;
}

static enum status insert(
	struct open_files *files, struct text key, const struct open_file *opened, uint64_t now_ms, struct entry **into)
{
	uint64_t hash = text_hash(key);
	struct entry *entry = calloc(1, sizeof(*entry));
	char *copy = malloc(key.length);
	if (entry == NULL || copy == NULL) {
		free(entry);
		free(copy);
		close(opened->descriptor);
		return STATUS_NO_MEMORY;
	}
	memcpy(copy, key.bytes, key.length);
	while (files->count >= files->limit)
		unlist(files, files->oldest);
	*entry = (struct entry){.file = *opened,
		.hash = hash,
		.opened_ms = now_ms,
		.seen_ms = now_ms,
		.key = copy,
		.key_length = key.length,
		.is_listed = true,
		.chain = files->buckets[hash & files->mask]};
	files->buckets[hash & files->mask] = entry;
	list_enter(files, entry);
	files->count++;
	*into = entry;
	return STATUS_OK;
}

/* Reads a small file once, for as long as it stays the same. */
static void hold(struct entry *entry)
{
	struct open_file *file = &entry->file;
	int64_t changed_ns = file->mtime_ns > file->ctime_ns ? file->mtime_ns : file->ctime_ns;
	if (file->held != NULL || file->size == 0 || file->size > HELD_MAX ||
		clock_wall_ms() - changed_ns / 1000000 < STILL_MS)
		return;
	uint8_t *bytes = malloc((size_t)file->size);
	if (bytes != NULL && pread(file->descriptor, bytes, (size_t)file->size, 0) == file->size && is_current(file))
		file->held = bytes;
	else
		free(bytes);
}

/* NULL: the entry is no longer the file (and has been dropped). */
static struct entry *revalidate(
	struct open_files *files, struct entry *entry, struct text ctx, struct text path, uint64_t now_ms)
{
	if (entry->file.held != NULL && entry->seen_ms == now_ms)
		return entry;
	if (is_current(&entry->file)) {
		entry->seen_ms = now_ms;
		if (now_ms - entry->opened_ms < REOPEN_MS)
			return entry;
		struct open_file again;
		if (open_regular(files->root, ctx, path, &again) == STATUS_OK) {
			close(again.descriptor);
			if (open_file_equals(&again, &entry->file)) {
				entry->opened_ms = now_ms;
				return entry;
			}
		}
	}
	unlist(files, entry);
	return NULL;
}

enum status open_file_get(
	struct open_files *files, struct text ctx, struct text path, uint64_t now_ms, const struct open_file **file)
{
	char room[PATH_LIMIT + 96];
	if (path.length > PATH_LIMIT || ctx.length > 64)
		return STATUS_NOT_FOUND;
	memcpy(room, ctx.bytes, ctx.length);
	room[ctx.length] = '/'; /* never in a ctx */
	memcpy(room + ctx.length + 1, path.bytes, path.length);
	struct text key = {room, ctx.length + 1 + path.length};
	struct entry *entry = find(files, key);
	if (entry != NULL)
		entry = revalidate(files, entry, ctx, path, now_ms);
	if (entry == NULL) {
		struct open_file opened;
		enum status status = open_regular(files->root, ctx, path, &opened);
		if (status == STATUS_OK)
			status = insert(files, key, &opened, now_ms, &entry);
		if (status != STATUS_OK)
			return status;
	} else if (files->newest != entry) {
		list_leave(files, entry);
		list_enter(files, entry);
	}
	entry->users++;
	hold(entry);
	*file = &entry->file;
	return STATUS_OK;
}

void open_file_release(struct open_files *files, const struct open_file *file)
{
	struct entry *entry = (struct entry *)(uintptr_t)file;
	(void)files;
	if (--entry->users == 0 && !entry->is_listed)
		entry_free(entry);
}

struct file_answer **open_file_answer(const struct open_file *file)
{
	return &((struct entry *)(uintptr_t)file)->answer;
}
