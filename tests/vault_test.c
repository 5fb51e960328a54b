/* The vault: what is put in comes out again, to nobody else, and not after it was forgotten. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <dirent.h>
#include <fcntl.h>
#include <semaphore.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "server/worker_pool.h"
#include "tenants/vault/safe_file.h"
#include "tenants/vault/vault.h"

enum { PATH_ROOM = 256, KILLS = 12 };

/* A folder, and a vault in it. */
struct bench {
	char folder[64], path[PATH_ROOM];
	struct vault *vault;
	/* the last answer */
	sem_t answered;
	enum status status;
	char result[2048];
	size_t length;
};

static void on_done(void *context, enum status status, struct text result)
{
	struct bench *bench = context;
	bench->status = status;
	bench->length = result.length;
	assert_true(result.length <= sizeof(bench->result));
	if (result.length > 0)
		memcpy(bench->result, result.bytes, result.length);
	sem_post(&bench->answered);
}

static enum status wait_for(struct bench *bench)
{
	while (sem_wait(&bench->answered) != 0)
		;
	return bench->status;
}

static struct text result_of(const struct bench *bench)
{
	return (struct text){bench->result, bench->length};
}

static const char *path_of(struct bench *bench, const char *name)
{
	snprintf(bench->path, sizeof(bench->path), "%s/vault/%s", bench->folder, name);
	return bench->path;
}

static enum status reopen(struct bench *bench)
{
	char directory[PATH_ROOM];
	struct buffer error = {.bytes = NULL};
	const struct vault_settings settings = {.directory = directory};
	vault_close(bench->vault);
	bench->vault = NULL;
	snprintf(directory, sizeof(directory), "%s/vault", bench->folder);
	enum status status = vault_open(&settings, &bench->vault, &error);
	assert_int_equal(status != STATUS_OK, error.length > 0);
	buffer_free(&error);
	return status;
}

static int set_up(void **state)
{
	struct bench *bench = calloc(1, sizeof(*bench));
	snprintf(bench->folder, sizeof(bench->folder), "/tmp/vault_test.XXXXXX");
	if (mkdtemp(bench->folder) == NULL || sem_init(&bench->answered, 0, 0) != 0)
		return -1;
	*state = bench;
	return reopen(bench) == STATUS_OK ? 0 : -1;
}

static int tear_down(void **state)
{
	struct bench *bench = *state;
	vault_close(bench->vault);
	DIR *list = opendir(path_of(bench, ""));
	for (const struct dirent *item; list != NULL && (item = readdir(list)) != NULL;)
		unlinkat(dirfd(list), item->d_name, 0);
	if (list != NULL)
		closedir(list);
	rmdir(path_of(bench, ""));
	rmdir(bench->folder);
	sem_destroy(&bench->answered);
	free(bench);
	return 0;
}

static enum status put(struct bench *bench, const char *ctx, const char *alias, const char *value)
{
	vault_secret_put(bench->vault, text_of(ctx), text_of(alias), text_of(value), NULL, on_done, bench);
	return wait_for(bench);
}

static enum status get(struct bench *bench, const char *ctx, const char *alias)
{
	vault_secret_get(bench->vault, text_of(ctx), text_of(alias), NULL, on_done, bench);
	return wait_for(bench);
}

static enum status create_key(struct bench *bench, const char *ctx, const char *alias, enum key_kind kind)
{
	vault_key_create(bench->vault, text_of(ctx), text_of(alias), kind, NULL, on_done, bench);
	return wait_for(bench);
}

static enum status import_key(struct bench *bench, const char *ctx, const char *alias, struct text private)
{
	vault_key_import(bench->vault, text_of(ctx), text_of(alias), private, NULL, on_done, bench);
	return wait_for(bench);
}

static enum status show_key(struct bench *bench, const char *ctx, const char *alias)
{
	vault_key_public(bench->vault, text_of(ctx), text_of(alias), NULL, on_done, bench);
	return wait_for(bench);
}

static enum status sign(struct bench *bench, const char *ctx, const char *alias, struct text bytes)
{
	vault_sign(bench->vault, text_of(ctx), text_of(alias), bytes, NULL, on_done, bench);
	return wait_for(bench);
}

static enum status remove_one(struct bench *bench, const char *ctx, const char *alias)
{
	vault_delete(bench->vault, text_of(ctx), text_of(alias), NULL, on_done, bench);
	return wait_for(bench);
}

static enum status forget(struct bench *bench, const char *ctx)
{
	vault_forget(bench->vault, text_of(ctx), NULL, on_done, bench);
	return wait_for(bench);
}

static mode_t mode_of(const char *path)
{
	struct stat info;
	assert_int_equal(stat(path, &info), 0);
	return info.st_mode & 07777;
}

static void test_secrets(void **state)
{
	struct bench *bench = *state;
	assert_int_equal(get(bench, "a", "s"), STATUS_NOT_FOUND);
	assert_int_equal(put(bench, "a", "s", "one"), STATUS_OK);
	assert_int_equal(put(bench, "a", "empty", ""), STATUS_OK);
	assert_int_equal(put(bench, "b", "s", "other"), STATUS_OK);
	for (int round = 0; round < 2; round++) {
		assert_int_equal(get(bench, "a", "s"), STATUS_OK);
		assert_true(text_equals(result_of(bench), round == 0 ? TEXT("one") : TEXT("two")));
		assert_int_equal(get(bench, "a", "empty"), STATUS_OK);
		assert_int_equal(bench->length, 0);
		assert_int_equal(get(bench, "b", "s"), STATUS_OK);
		assert_true(text_equals(result_of(bench), TEXT("other")));
		assert_int_equal(put(bench, "a", "s", "two"), STATUS_OK);
		assert_int_equal(reopen(bench), STATUS_OK);
	}
	assert_int_equal(remove_one(bench, "a", "s"), STATUS_OK);
	assert_int_equal(remove_one(bench, "a", "s"), STATUS_NOT_FOUND);
	assert_int_equal(get(bench, "a", "s"), STATUS_NOT_FOUND);
	assert_int_equal(reopen(bench), STATUS_OK);
	assert_int_equal(get(bench, "a", "s"), STATUS_NOT_FOUND);
	assert_int_equal(get(bench, "a", "empty"), STATUS_OK);
}

static void test_keys(void **state)
{
	struct bench *bench = *state;
	static const char *const aliases[] = {[KEY_ES256] = "es", [KEY_EDDSA] = "ed"};
	for (int kind = KEY_ES256; kind <= KEY_EDDSA; kind++) {
		struct key *key = NULL;
		assert_int_equal(create_key(bench, "a", aliases[kind], (enum key_kind)kind), STATUS_OK);
		assert_int_equal(key_from_public_jwk(result_of(bench), &key), STATUS_OK);
		assert_int_equal(key_kind(key), kind);
		assert_true(text_starts_with(key_id(key), kind == KEY_ES256 ? TEXT("a#es-") : TEXT("a#ed-")));
		assert_int_equal(key_id(key).length, 5 + 8);
		assert_int_equal(create_key(bench, "a", aliases[kind], (enum key_kind)kind), STATUS_CONFLICT);
		for (int round = 0; round < 2; round++) {
			assert_int_equal(sign(bench, "a", aliases[kind], TEXT("words")), STATUS_OK);
			assert_int_equal(key_verify(key, TEXT("words"), result_of(bench)), STATUS_OK);
			assert_int_equal(reopen(bench), STATUS_OK);
		}
		/* keys do not come out as secrets, and are not overwritten by them; secrets do not sign */
		assert_int_equal(get(bench, "a", aliases[kind]), STATUS_NOT_FOUND);
		assert_int_equal(put(bench, "a", aliases[kind], "x"), STATUS_CONFLICT);
		key_free(key);
	}
	assert_int_equal(put(bench, "a", "s", "x"), STATUS_OK);
	assert_int_equal(sign(bench, "a", "s", TEXT("x")), STATUS_NOT_FOUND);
	assert_int_equal(create_key(bench, "a", "s", KEY_ES256), STATUS_CONFLICT);
	assert_int_equal(sign(bench, "b", "es", TEXT("x")), STATUS_NOT_FOUND);
}

static void test_keys_from_elsewhere(void **state)
{
	struct bench *bench = *state;
	static const char *const bad[] = {"", "words", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"};
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		assert_int_equal(import_key(bench, "a", "bad", text_of(bad[i])), STATUS_INVALID);
		assert_int_equal(show_key(bench, "a", "bad"), STATUS_NOT_FOUND);
	}
	for (int kind = KEY_ES256; kind <= KEY_EDDSA; kind++) {
		const char *alias = kind == KEY_ES256 ? "es" : "ed";
		struct key *private = NULL, *public = NULL;
		struct buffer der = {.bytes = NULL};
		assert_int_equal(key_generate((enum key_kind)kind, TEXT("elsewhere"), &private), STATUS_OK);
		assert_int_equal(key_to_private_der(private, &der), STATUS_OK);
		assert_int_equal(import_key(bench, "a", alias, buffer_text(&der)), STATUS_OK);
		assert_int_equal(import_key(bench, "a", alias, buffer_text(&der)), STATUS_CONFLICT);
		assert_int_equal(reopen(bench), STATUS_OK);
		assert_int_equal(show_key(bench, "a", alias), STATUS_OK);
		assert_int_equal(key_from_public_jwk(result_of(bench), &public), STATUS_OK);
		assert_int_equal(key_id(public).length, 0);
		assert_int_equal(sign(bench, "a", alias, TEXT("words")), STATUS_OK);
		assert_int_equal(key_verify(private, TEXT("words"), result_of(bench)), STATUS_OK);
		assert_int_equal(key_verify(public, TEXT("words"), result_of(bench)), STATUS_OK);
		assert_int_equal(show_key(bench, "b", alias), STATUS_NOT_FOUND);
		key_free(private);
		key_free(public);
		buffer_free(&der);
	}
	assert_int_equal(put(bench, "a", "s", "x"), STATUS_OK);
	assert_int_equal(show_key(bench, "a", "s"), STATUS_NOT_FOUND);
}

static void test_names(void **state)
{
	struct bench *bench = *state;
	static const char *const bad[] = {"", "a/b", "../a", "a b", "a\nb", "\xff"};
	char longest[300];
	memset(longest, 'a', sizeof(longest) - 1);
	longest[sizeof(longest) - 1] = 0;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		assert_int_equal(put(bench, bad[i], "s", "x"), STATUS_INVALID);
		assert_int_equal(forget(bench, bad[i]), STATUS_INVALID);
	}
	assert_int_equal(put(bench, longest, "s", "x"), STATUS_INVALID);
	assert_int_equal(put(bench, "a", longest, "x"), STATUS_INVALID);
	assert_int_equal(put(bench, "a", "", "x"), STATUS_INVALID);
	assert_int_equal(put(bench, "a", "did:web:x%3A1#key/1", "x"), STATUS_OK);
	assert_int_equal(put(bench, "..", "s", "x"), STATUS_OK); /* a file name all the same: "...vault" */
	longest[128] = 0;
	assert_int_equal(put(bench, longest, "s", "x"), STATUS_OK);
	char *large = calloc(1, 70000);
	memset(large, 'x', 69999);
	assert_int_equal(put(bench, "a", "large", large), STATUS_TOO_LARGE);
	free(large);
}

static void test_modes(void **state)
{
	struct bench *bench = *state;
	assert_int_equal(put(bench, "a", "s", "x"), STATUS_OK);
	assert_int_equal(mode_of(path_of(bench, "")), 0700);
	assert_int_equal(mode_of(path_of(bench, "master.key")), 0400);
	assert_int_equal(mode_of(path_of(bench, "a.vault")), 0600);
	static const mode_t loose[] = {0440, 0404, 0620, 0602};
	for (size_t i = 0; i < sizeof(loose) / sizeof(loose[0]); i++) {
		assert_int_equal(chmod(path_of(bench, "master.key"), loose[i]), 0);
		assert_int_equal(reopen(bench), STATUS_FORBIDDEN);
	}
	assert_int_equal(chmod(path_of(bench, "master.key"), 0600), 0);
	assert_int_equal(chmod(path_of(bench, ""), 0770), 0);
	assert_int_equal(reopen(bench), STATUS_FORBIDDEN);
	assert_int_equal(chmod(path_of(bench, ""), 0700), 0);
	assert_int_equal(reopen(bench), STATUS_OK);
}

static void test_one_process(void **state)
{
	struct bench *bench = *state;
	char directory[PATH_ROOM];
	struct vault *second = NULL;
	struct buffer error = {.bytes = NULL};
	snprintf(directory, sizeof(directory), "%s/vault", bench->folder);
	assert_int_equal(vault_open(&(struct vault_settings){.directory = directory}, &second, &error), STATUS_CONFLICT);
	buffer_free(&error);
}

static void write_file(const char *path, struct text content)
{
	int file = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
	assert_int_equal(write(file, content.bytes, content.length), content.length);
	close(file);
}

static struct buffer read_file(const char *path)
{
	struct buffer content = {.bytes = NULL};
	assert_int_equal(safe_file_read(AT_FDCWD, path, 1 << 20, false, &content), STATUS_OK);
	return content;
}

static void test_master_key(void **state)
{
	struct bench *bench = *state;
	assert_int_equal(put(bench, "a", "s", "x"), STATUS_OK);
	struct buffer key = read_file(path_of(bench, "master.key"));
	assert_int_equal(unlink(path_of(bench, "master.key")), 0);
	assert_int_equal(reopen(bench), STATUS_NOT_FOUND); /* never a new key over safes that need the old */
	key.bytes[0] ^= 1;
	write_file(path_of(bench, "master.key"), buffer_text(&key));
	assert_int_equal(reopen(bench), STATUS_UNAUTHORIZED);
	/* even with the mark gone, no safe opens */
	assert_int_equal(unlink(path_of(bench, "master.mark")), 0);
	assert_int_equal(reopen(bench), STATUS_OK);
	assert_int_equal(get(bench, "a", "s"), STATUS_IO);
	assert_int_equal(put(bench, "a", "s", "y"), STATUS_IO);
	assert_int_equal(unlink(path_of(bench, "master.mark")), 0);
	key.bytes[0] ^= 1;
	write_file(path_of(bench, "master.key"), buffer_text(&key));
	assert_int_equal(reopen(bench), STATUS_OK);
	assert_int_equal(get(bench, "a", "s"), STATUS_OK);
	write_file(path_of(bench, "master.key"), TEXT("short"));
	assert_int_equal(reopen(bench), STATUS_TOO_LARGE);
	buffer_free(&key);
}

/* Every byte of the file matters, and so does its length. */
static void test_tampering(void **state)
{
	struct bench *bench = *state;
	assert_int_equal(put(bench, "a", "s", "secret"), STATUS_OK);
	assert_int_equal(put(bench, "a", "t", "other"), STATUS_OK);
	struct buffer file = read_file(path_of(bench, "a.vault"));
	assert_int_equal(reopen(bench), STATUS_OK); /* not from memory */
	for (size_t i = 0; i < file.length; i++) {
		file.bytes[i] ^= (char)(1 << i % 8);
		write_file(path_of(bench, "a.vault"), buffer_text(&file));
		file.bytes[i] ^= (char)(1 << i % 8);
		assert_int_equal(get(bench, "a", "s"), STATUS_IO);
	}
	for (size_t length = 0; length < file.length; length += 7) {
		write_file(path_of(bench, "a.vault"), text_slice(buffer_text(&file), 0, length));
		assert_int_equal(get(bench, "a", "s"), STATUS_IO);
	}
	write_file(path_of(bench, "a.vault"), buffer_text(&file));
	assert_int_equal(get(bench, "a", "s"), STATUS_OK);
	buffer_free(&file);
}

/* The safe of one ctx under the name of another opens for nobody. */
static void test_isolation(void **state)
{
	struct bench *bench = *state;
	char other[PATH_ROOM];
	assert_int_equal(put(bench, "a", "s", "secret"), STATUS_OK);
	snprintf(other, sizeof(other), "%s/vault/b.vault", bench->folder);
	assert_int_equal(link(path_of(bench, "a.vault"), other), 0);
	assert_int_equal(get(bench, "b", "s"), STATUS_IO);
	assert_int_equal(sign(bench, "b", "s", TEXT("x")), STATUS_IO);
	assert_int_equal(unlink(other), 0);
	assert_int_equal(get(bench, "b", "s"), STATUS_NOT_FOUND);
	/* nothing readable on disk */
	struct buffer file = read_file(path_of(bench, "a.vault"));
	assert_null(memmem(file.bytes, file.length, "secret", 6));
	buffer_free(&file);
}

static void test_forget(void **state)
{
	struct bench *bench = *state;
	char kept[PATH_ROOM];
	assert_int_equal(put(bench, "a", "s", "secret"), STATUS_OK);
	assert_int_equal(put(bench, "b", "s", "stays"), STATUS_OK);
	snprintf(kept, sizeof(kept), "%s/vault/kept", bench->folder);
	assert_int_equal(link(path_of(bench, "a.vault"), kept), 0);
	assert_int_equal(forget(bench, "a"), STATUS_OK);
	assert_int_equal(forget(bench, "a"), STATUS_OK);
	assert_int_equal(get(bench, "a", "s"), STATUS_NOT_FOUND);
	assert_int_equal(access(path_of(bench, "a.vault"), F_OK), -1);
	assert_int_equal(get(bench, "b", "s"), STATUS_OK);
	/* the bytes themselves are gone, not only the name */
	assert_int_equal(rename(kept, path_of(bench, "a.vault")), 0);
	assert_int_equal(get(bench, "a", "s"), STATUS_IO);
	/* and a damaged safe can be forgotten too */
	assert_int_equal(forget(bench, "a"), STATUS_OK);
	assert_int_equal(put(bench, "a", "s", "new"), STATUS_OK);
	/* what a killed process left half forgotten is swept at the next start */
	char gone[PATH_ROOM];
	snprintf(gone, sizeof(gone), "%s/vault/a.gone", bench->folder);
	assert_int_equal(rename(path_of(bench, "a.vault"), gone), 0);
	write_file(path_of(bench, "b.vault.new"), TEXT("half"));
	assert_int_equal(reopen(bench), STATUS_OK);
	assert_int_equal(access(gone, F_OK), -1);
	assert_int_equal(access(path_of(bench, "b.vault.new"), F_OK), -1);
	assert_int_equal(get(bench, "a", "s"), STATUS_NOT_FOUND);
	assert_int_equal(get(bench, "b", "s"), STATUS_OK);
}

/* The child writes ever higher numbers and tells each one it was told is stored. */
static void write_until_killed(struct bench *bench, int tell)
{
	if (reopen(bench) != STATUS_OK)
		_exit(1);
	for (int number = 1;; number++) {
		char digits[16];
		snprintf(digits, sizeof(digits), "%d", number);
		if (put(bench, "k", "n", digits) != STATUS_OK || write(tell, &number, sizeof(number)) != sizeof(number))
			_exit(1);
	}
}

/* Killed at any instant, the vault opens again with the last value it had promised, or the one it was writing. */
static void test_kill(void **state)
{
	struct bench *bench = *state;
	assert_int_equal(put(bench, "k", "n", "0"), STATUS_OK);
	for (int i = 0; i < KILLS; i++) {
		int pipes[2], number = 0, told = 0;
		vault_close(bench->vault);
		bench->vault = NULL;
		assert_int_equal(pipe(pipes), 0);
		pid_t child = fork();
		if (child == 0) {
			close(pipes[0]);
			write_until_killed(bench, pipes[1]);
		}
		close(pipes[1]);
		while (told < 3 + i && read(pipes[0], &number, sizeof(number)) == sizeof(number))
			told = number;
		usleep((useconds_t)(i * 37 % 400));
		kill(child, SIGKILL);
		while (read(pipes[0], &number, sizeof(number)) == sizeof(number))
			told = number;
		close(pipes[0]);
		waitpid(child, NULL, 0);
		assert_true(told >= 3 + i);
		assert_int_equal(reopen(bench), STATUS_OK);
		assert_int_equal(get(bench, "k", "n"), STATUS_OK);
		uint64_t stored = 0;
		assert_int_equal(text_to_unsigned(result_of(bench), 1000000, &stored), STATUS_OK);
		assert_true(stored == (uint64_t)told || stored == (uint64_t)told + 1);
	}
}

/* Asked on a worker, answered on that worker. */
struct asking {
	struct task task;
	struct bench *bench;
	struct worker *worker;
	bool there;
};

static void on_worker_done(void *context, enum status status, struct text result)
{
	struct asking *asking = context;
	asking->there = worker_current() == asking->worker;
	on_done(asking->bench, status, result);
}

static void ask(struct task *task)
{
	struct asking *asking = (struct asking *)task;
	vault_secret_put(asking->bench->vault, TEXT("w"), TEXT("s"), TEXT("x"), asking->worker, on_worker_done, asking);
}

static void test_worker(void **state)
{
	struct bench *bench = *state;
	struct worker_pool *pool = worker_pool_new(2);
	assert_int_equal(worker_pool_start(pool), STATUS_OK);
	struct asking asking = {.task.run = ask, .bench = bench, .worker = worker_pool_at(pool, 1)};
	worker_post(asking.worker, &asking.task);
	assert_int_equal(wait_for(bench), STATUS_OK);
	assert_true(asking.there);
	worker_pool_stop(pool);
	worker_pool_free(pool);
}

static void on_counted(void *context, enum status status, struct text result)
{
	(void)result;
	atomic_fetch_add((_Atomic int *)context, status == STATUS_OK || status == STATUS_UNAVAILABLE);
}

/* More than the queue takes: each is answered once, the last of them by the close. */
static void test_queue(void **state)
{
	struct bench *bench = *state;
	_Atomic int answers = 0;
	assert_int_equal(put(bench, "a", "s", "x"), STATUS_OK);
	for (int i = 0; i < 10000; i++)
		vault_secret_get(bench->vault, TEXT("a"), TEXT("s"), NULL, on_counted, (void *)&answers);
	vault_close(bench->vault);
	bench->vault = NULL;
	assert_int_equal(answers, 10000);
	assert_int_equal(reopen(bench), STATUS_OK);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_secrets, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_keys, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_keys_from_elsewhere, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_names, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_modes, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_one_process, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_master_key, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_tampering, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_isolation, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_forget, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_kill, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_worker, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_queue, set_up, tear_down),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
