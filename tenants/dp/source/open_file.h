/* Regular files below a directory, opened without ever leaving it, kept open and mapped by each worker. */
#pragma once

#include "server/base/text.h"
#include "server/http_date.h"

struct file_answer;
struct open_files;

/* A file as it was when opened. Shared by pulls of one worker: open_file_get / _release. */
struct open_file {
	int descriptor;
	int64_t size, mtime_ns, ctime_ns;
	uint64_t inode;
	/* The whole of a small file that lay still when it was read, else NULL: the bytes and the times above are of one
	 * moment, whatever becomes of the file. */
	const uint8_t *held;
	char modified[HTTP_DATE_LENGTH + 1]; /* mtime_ns as a Last-Modified */
};

/* root: an O_PATH directory descriptor, borrowed. At most `limit` files without users are kept. */
struct open_files *open_files_new(int root, size_t limit);
void open_files_free(struct open_files *files);
/* Opens <root>/<ctx>/<path> (path relative, decoded), or takes the open one if the file did not change; a file that is
 * held is looked at once a millisecond. NOT_FOUND: there is no such regular file reachable without symlinks. */
enum status open_file_get(struct open_files *files, struct text ctx, struct text path, uint64_t now_ms,
	const struct open_file **file) MUST_CHECK;
void open_file_release(struct open_files *files, const struct open_file *file);
/* Where file_answer.h keeps what answers say of it. */
struct file_answer **open_file_answer(const struct open_file *file);
/* Opens a path below a directory without ever leaving it or following a link; -1 and errno. */
int open_file_beneath(int directory, const char *path, uint64_t flags, uint64_t mode);
/* Were both opened from one file, untouched in between? On one machine. */
bool open_file_equals(const struct open_file *a, const struct open_file *b);
/* The same bytes as when it was opened? One fstat. */
bool open_file_is_same(const struct open_file *file);

/* Where a reader of large files has its own window mapped. All-zero starts. */
struct file_window {
	uint8_t *bytes;
	int64_t offset;
	size_t length;
};
/* Copies file bytes [offset, offset + length), which must lie inside the file's size. IO: the file was truncated under
 * the mapping (what was copied is worthless). */
enum status open_file_copy(
	const struct open_file *file, struct file_window *window, int64_t offset, uint8_t *into, size_t length) MUST_CHECK;
void file_window_close(struct file_window *window);
/* The mapped bytes from `offset` to the end of the file, good until open_file_release; they can only be read as
 * mapping_copy does, or by the kernel. NULL: the file is too large to be mapped whole. */
const uint8_t *open_file_bytes(const struct open_file *file, int64_t offset);
