/* Sink "file": below the tenant's directory, <folder>/<flow>/<name>, where its file sources see it. Bytes are gathered
 * in <name>.part beside it and renamed when they are whole. Properties: folder (default "received"), maxBytes (of one
 * object). All work on files is the disk threads'. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tenants/dp/sink/disk.h"
#include "tenants/dp/sink/sink.h"
#include "tenants/dp/source/open_file.h"

enum { FOLDER_MAX = 256, PATH_LIMIT = 2048, NAME_LIMIT = 240 };
#define PART ".part"

struct file_sink {
	char *folder;
	int64_t limit;
};

/* Lives until its last job is done, which may be after the intake. */
struct file_intake {
	struct disk_job job;   /* first */
	struct intake *intake; /* NULL: closed */
	struct disk *disk;
	struct worker *worker;
	int root, directory, descriptor;
	char path[PATH_LIMIT]; /* "<ctx>/<folder>/<flow>/a/b": the directory */
	char name[NAME_LIMIT + 1], part[NAME_LIMIT + sizeof(PART)];
	int64_t first, at, limit;
	bool is_question, is_segment, is_whole, is_busy, is_finished;
	struct buffer bytes;
	/* of the last job */
	void (*work)(struct file_intake *state);
	void (*tell)(struct file_intake *state);
	enum status status;
	int64_t offset;
	size_t written;
};

/* --- on the disk's thread */

static enum status status_of_errno(int error)
{
	static const struct {
		int error;
		enum status status;
	} known[] = {{ENOSPC, STATUS_REFUSED}, {EDQUOT, STATUS_REFUSED}, {EFBIG, STATUS_TOO_LARGE},
		{ENOTDIR, STATUS_NOT_FOUND}, {EISDIR, STATUS_NOT_FOUND}, {ELOOP, STATUS_NOT_FOUND},
		{ENAMETOOLONG, STATUS_NOT_FOUND}, {EMFILE, STATUS_UNAVAILABLE}, {ENFILE, STATUS_UNAVAILABLE}};
	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
		if (known[i].error == error)
			return known[i].status;
	}
	return STATUS_IO;
}

/* The directory, made as far as it is missing; never through a symbolic link. */
static enum status open_directory(struct file_intake *state)
{
	char *at = state->path;
	for (;;) {
		char *slash = strchr(at, '/');
		if (slash != NULL)
			*slash = 0;
		if (!state->is_question && mkdirat(state->root, state->path, 0750) != 0 && errno != EEXIST)
			return status_of_errno(errno);
		int next = open_file_beneath(state->root, state->path, O_PATH | O_DIRECTORY, 0);
		if (next < 0)
			return errno == ENOENT && state->is_question ? STATUS_OK : status_of_errno(errno);
		if (slash == NULL) {
			state->directory = next;
			return STATUS_OK;
		}
		close(next);
		*slash = '/';
		at = slash + 1;
	}
}

/* What is there of the object: the part under way, else the whole. */
static void work_question(struct file_intake *state)
{
	struct stat found;
	state->offset = 0;
	state->status = open_directory(state);
	if (state->status != STATUS_OK || state->directory < 0)
		return;
	if ((fstatat(state->directory, state->part, &found, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(found.st_mode)) ||
		(fstatat(state->directory, state->name, &found, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(found.st_mode)))
		state->offset = found.st_size;
}

static void work_open(struct file_intake *state)
{
	struct stat found;
	state->status = open_directory(state);
	if (state->status != STATUS_OK)
		return;
	state->descriptor =
		open_file_beneath(state->directory, state->part, O_WRONLY | O_CREAT | O_NONBLOCK | O_NOCTTY, 0640);
	bool is_free = state->descriptor >= 0 && flock(state->descriptor, LOCK_EX | LOCK_NB) == 0;
	if (state->descriptor < 0 || fstat(state->descriptor, &found) != 0) {
		state->status = status_of_errno(errno);
		return;
	}
	state->offset = found.st_size;
	/* the request before this one is still being taken, or was just dropped */
	bool is_taken = !is_free || found.st_nlink == 0;
	if (!S_ISREG(found.st_mode))
		state->status = STATUS_NOT_FOUND;
	else if (is_taken || (state->first != 0 && state->first != found.st_size))
		state->status = STATUS_CONFLICT;
	else if (state->first == 0)
		state->status = ftruncate(state->descriptor, 0) == 0 ? STATUS_OK : status_of_errno(errno);
	state->at = state->first;
}

static void work_write(struct file_intake *state)
{
	size_t done = 0;
	state->status = STATUS_OK;
	state->written = state->bytes.length;
	if (state->at + (int64_t)state->bytes.length > state->limit)
		state->status = STATUS_TOO_LARGE;
	while (state->status == STATUS_OK && done < state->bytes.length) {
		ssize_t count =
			pwrite(state->descriptor, state->bytes.bytes + done, state->bytes.length - done, state->at + (int64_t)done);
		if (count > 0)
			done += (size_t)count;
		else if (count < 0 && errno != EINTR)
			state->status = status_of_errno(errno);
	}
	state->at += (int64_t)done;
	buffer_free(&state->bytes);
}

static enum status sync_directory(const struct file_intake *state)
{
	int readable = open_file_beneath(state->directory, ".", O_RDONLY | O_DIRECTORY, 0);
	if (readable < 0)
		return status_of_errno(errno);
	int result = fsync(readable);
	close(readable);
	return result == 0 ? STATUS_OK : STATUS_IO;
}

static void work_finish(struct file_intake *state)
{
	state->status = fdatasync(state->descriptor) == 0 ? STATUS_OK : status_of_errno(errno);
	if (state->status != STATUS_OK || !state->is_whole)
		return;
	if (renameat(state->directory, state->part, state->directory, state->name) != 0)
		state->status = status_of_errno(errno);
	else
		state->status = sync_directory(state);
}

static void work_close(struct file_intake *state)
{
	/* half of a whole is worth nothing; half of a segment is where the next begins */
	if (state->descriptor >= 0 && !state->is_segment && !state->is_finished && state->status != STATUS_CONFLICT)
		unlinkat(state->directory, state->part, 0);
	if (state->descriptor >= 0)
		close(state->descriptor);
	if (state->directory >= 0)
		close(state->directory);
	state->descriptor = state->directory = -1;
}

/* --- on the worker */

static void run(struct disk_job *job)
{
	struct file_intake *state = (struct file_intake *)job;
	state->work(state);
}

static void done(struct disk_job *job);

static void submit(struct file_intake *state, void (*work)(struct file_intake *), void (*tell)(struct file_intake *))
{
	state->is_busy = true;
	state->work = work;
	state->tell = tell;
	state->job.run = run;
	state->job.done = done;
	disk_submit(state->disk, &state->job, state->worker);
}

static void done(struct disk_job *job)
{
	struct file_intake *state = (struct file_intake *)job;
	state->is_busy = false;
	if (state->intake != NULL) {
		state->tell(state);
	} else if (state->work != work_close) {
		submit(state, work_close, NULL);
	} else {
		buffer_free(&state->bytes);
		free(state);
	}
}

static void tell_opened(struct file_intake *state)
{
	state->intake->events->opened(state->intake, state->status, state->offset);
}

static void tell_written(struct file_intake *state)
{
	state->intake->events->written(state->intake, state->status, state->written);
}

static void tell_finished(struct file_intake *state)
{
	state->is_finished = state->status == STATUS_OK && state->is_whole;
	state->intake->events->finished(state->intake, state->status);
}

/* An intake that cannot begin says so later, like all others. */
static void work_nothing(struct file_intake *state)
{
	(void)state;
}

static enum status set_names(struct file_intake *state, const struct intake *intake)
{
	const struct file_sink *sink = intake->sink;
	struct text name = intake->name;
	size_t slash = name.length;
	while (slash > 0 && name.bytes[slash - 1] != '/')
		slash--;
	struct text last = text_slice(name, slash, name.length), folders = text_slice(name, 0, slash > 0 ? slash - 1 : 0);
	int length = snprintf(state->path, sizeof(state->path), "%s/%s/%s%s%.*s", intake->pull->flow->ctx,
		sink == NULL ? "received" : sink->folder, intake->pull->flow->id, folders.length > 0 ? "/" : "",
		TEXT_ARGUMENTS(folders));
	if (length < 0 || (size_t)length >= sizeof(state->path) || last.length == 0 || last.length > NAME_LIMIT ||
		text_ends_with(last, TEXT(PART)))
		return STATUS_NOT_FOUND;
	snprintf(state->name, sizeof(state->name), "%.*s", TEXT_ARGUMENTS(last));
	snprintf(state->part, sizeof(state->part), "%.*s" PART, TEXT_ARGUMENTS(last));
	return STATUS_OK;
}

static void file_open(struct intake *intake)
{
	const struct file_sink *sink = intake->sink;
	const struct dp *dp = intake->pull->home->dp;
	struct file_intake *state = calloc(1, sizeof(*state));
	intake->driver_state = state;
	if (state == NULL)
		return; /* told by ingest: a driver without state has no memory */
	state->intake = intake;
	state->disk = dp->disk;
	state->worker = intake->pull->home->worker;
	state->root = dp->root;
	state->directory = state->descriptor = -1;
	state->first = intake->first;
	state->limit = sink == NULL || sink->limit == 0 ? dp->settings.received_bytes : sink->limit;
	state->is_question = intake->is_question;
	state->is_segment = intake->is_segment;
	state->status = set_names(state, intake);
	if (state->status == STATUS_OK && intake->total > state->limit)
		state->status = STATUS_TOO_LARGE;
	submit(state,
		state->status != STATUS_OK ? work_nothing
		: intake->is_question      ? work_question
								   : work_open,
		tell_opened);
}

static void file_write(struct intake *intake, struct buffer *bytes)
{
	struct file_intake *state = intake->driver_state;
	state->bytes = *bytes;
	*bytes = (struct buffer){0};
	submit(state, work_write, tell_written);
}

static void file_finish(struct intake *intake, bool is_whole)
{
	struct file_intake *state = intake->driver_state;
	state->is_whole = is_whole;
	submit(state, work_finish, tell_finished);
}

static void file_close(struct intake *intake)
{
	struct file_intake *state = intake->driver_state;
	if (state == NULL)
		return;
	state->intake = NULL;
	if (!state->is_busy)
		submit(state, work_close, NULL);
}

/* --- the record's side */

static void file_free(void *object)
{
	struct file_sink *sink = object;
	if (sink == NULL)
		return;
	free(sink->folder);
	free(sink);
}

static bool is_folder(struct text folder)
{
	struct text rest = folder, segment;
	if (folder.length == 0 || folder.length > FOLDER_MAX)
		return false;
	for (bool is_over = false; text_next_part(&rest, '/', &segment, &is_over);) {
		if (!name_is_valid(segment, FOLDER_MAX) || segment.bytes[0] == '.')
			return false;
	}
	return true;
}

static enum status file_build(const struct json *properties, unsigned workers, void **sink, struct buffer *error)
{
	struct text folder = property(properties, "folder"), limit = property(properties, "maxBytes");
	uint64_t bytes = 0;
	(void)workers;
	if (folder.bytes == NULL)
		folder = TEXT("received");
	if (!is_folder(folder)) {
		buffer_printf(error, "folder: must be a path below the participant's folder, of A-Z a-z 0-9 - _ . :");
		return STATUS_INVALID;
	}
	if (limit.bytes != NULL && text_to_unsigned(limit, INT64_MAX / 2, &bytes) != STATUS_OK) {
		buffer_printf(error, "maxBytes: must be a number of bytes");
		return STATUS_INVALID;
	}
	struct file_sink *made = calloc(1, sizeof(*made));
	if (made == NULL || (made->folder = text_copy(folder)) == NULL) {
		file_free(made);
		return STATUS_NO_MEMORY;
	}
	made->limit = (int64_t)bytes;
	*sink = made;
	return STATUS_OK;
}

const struct sink_driver sink_file = {
	.type = "file",
	.build = file_build,
	.free = file_free,
	.open = file_open,
	.write = file_write,
	.finish = file_finish,
	.close = file_close,
};
