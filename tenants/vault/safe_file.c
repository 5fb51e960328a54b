/* Files replaced by write, fsync, rename, fsync of the folder. */
#include "tenants/vault/safe_file.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "server/base/id.h"
#include "server/base/secret.h"

enum status safe_file_split(const char *path, int *directory, const char **name)
{
	const char *slash = strrchr(path, '/');
	struct text folder = slash == NULL ? TEXT(".") : (struct text){path, (size_t)(slash - path) + 1};
	char *copy = text_copy(folder);
	if (copy == NULL)
		return STATUS_NO_MEMORY;
	int opened = open(copy, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	free(copy);
	if (opened < 0)
		return errno == ENOENT ? STATUS_NOT_FOUND : STATUS_IO;
	*directory = opened;
	*name = slash == NULL ? path : slash + 1;
	return STATUS_OK;
}

static enum status check_mode(const struct stat *info, size_t limit, bool private)
{
	if (!S_ISREG(info->st_mode))
		return STATUS_INVALID;
	if (private && ((info->st_mode & 077) != 0 || (info->st_uid != geteuid() && info->st_uid != 0)))
		return STATUS_FORBIDDEN;
	return info->st_size < 0 || (uint64_t)info->st_size > limit ? STATUS_TOO_LARGE : STATUS_OK;
}

static enum status read_whole(int file, size_t size, struct buffer *content)
{
	char *bytes = malloc(size + 1);
	if (bytes == NULL)
		return STATUS_NO_MEMORY;
	size_t length = 0;
	while (length < size) {
		ssize_t got = read(file, bytes + length, size - length);
		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
			break;
		length += (size_t)got;
	}
	if (length < size) {
		wipe(bytes, size);
		free(bytes);
		return STATUS_IO;
	}
	bytes[size] = 0;
	*content = (struct buffer){.bytes = bytes, .length = size, .room = size + 1};
	return STATUS_OK;
}

enum status safe_file_read(int directory, const char *name, size_t limit, bool private, struct buffer *content)
{
	struct stat info;
	int file = openat(directory, name, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	if (file < 0)
		return errno == ENOENT ? STATUS_NOT_FOUND : errno == EACCES ? STATUS_FORBIDDEN : STATUS_IO;
	enum status status = fstat(file, &info) != 0 ? STATUS_IO : check_mode(&info, limit, private);
	if (status == STATUS_OK)
		status = read_whole(file, (size_t)info.st_size, content);
	close(file);
	return status;
}

static bool write_whole(int file, struct text content)
{
	while (content.length > 0) {
		ssize_t put = write(file, content.bytes, content.length);
		if (put < 0 && errno == EINTR)
			continue;
		if (put <= 0)
			return false;
		content = text_slice(content, (size_t)put, content.length);
	}
	return true;
}

/* A new durable file under `name`, which must not exist. */
static enum status write_new(int directory, const char *name, mode_t mode, struct text content)
{
	int file = openat(directory, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, mode);
	if (file < 0)
		return STATUS_IO;
	bool good = fchmod(file, mode) == 0 && write_whole(file, content) && fsync(file) == 0;
	good = close(file) == 0 && good;
	if (!good)
		unlinkat(directory, name, 0);
	return good ? STATUS_OK : STATUS_IO;
}

static bool name_beside(char into[NAME_MAX + 1], const char *name, const char *tail)
{
	int length = snprintf(into, NAME_MAX + 1, "%s.%s", name, tail);
	return length > 0 && length <= NAME_MAX;
}

/* A link to a finished file: O_EXCL, and yet never half a file. The random name is for two starting at once. */
enum status safe_file_create(int directory, const char *name, mode_t mode, struct text content)
{
	char tail[ID_LENGTH + 1], beside[NAME_MAX + 1];
	id_random(tail);
	if (!name_beside(beside, name, tail))
		return STATUS_INVALID;
	enum status status = write_new(directory, beside, mode, content);
	if (status != STATUS_OK)
		return status;
	if (linkat(directory, beside, directory, name, 0) != 0)
		status = errno == EEXIST ? STATUS_CONFLICT : STATUS_IO;
	unlinkat(directory, beside, 0);
	if (status == STATUS_OK && fsync(directory) != 0)
		status = STATUS_IO;
	return status;
}

enum status safe_file_replace(int directory, const char *name, mode_t mode, struct text content)
{
	char beside[NAME_MAX + 1];
	if (!name_beside(beside, name, "new"))
		return STATUS_INVALID;
	unlinkat(directory, beside, 0); /* left by a writer that was killed */
	enum status status = write_new(directory, beside, mode, content);
	if (status != STATUS_OK)
		return status;
	if (renameat(directory, beside, directory, name) != 0) {
		unlinkat(directory, beside, 0);
		return STATUS_IO;
	}
	return fsync(directory) == 0 ? STATUS_OK : STATUS_IO;
}

enum status safe_file_load(const char *path, size_t limit, bool private, struct buffer *content)
{
	int folder;
	const char *name;
	enum status status = safe_file_split(path, &folder, &name);
	if (status != STATUS_OK)
		return status;
	status = safe_file_read(folder, name, limit, private, content);
	close(folder);
	return status;
}
