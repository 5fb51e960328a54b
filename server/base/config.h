/* Settings: one table per room says name, kind, default, bounds and help; the loader, the error messages,
 * --print-config and the reference page are all made from the tables. The file is strict JSON (json.h): {"section":
 * {"key": value}}. */
#pragma once

#include <stdio.h>

#include "server/base/text.h"

enum setting_kind {
	SETTING_BOOL,         /* bool */
	SETTING_INTEGER,      /* int64_t */
	SETTING_BYTES,        /* int64_t; JSON integer, or "64 KiB", "1 MiB", "2 GiB" */
	SETTING_MILLISECONDS, /* int64_t; JSON integer of milliseconds, or "500 ms", "10 s", "5 min", "1 h" */
	SETTING_TEXT,         /* char *, owned by the settings; NULL when the default is NULL */
	SETTING_CHOICE,       /* int (an enum); `choices` lists the words in enum order */
	SETTING_TEXTS,        /* struct setting_texts */
	SETTING_OBJECTS,      /* struct setting_objects: an array of objects with their own table */
};

struct setting_texts {
	char **items;
	size_t count;
};
struct setting_objects {
	void *items; /* array of `object_size` bytes each */
	size_t count;
};

struct setting {
	const char *key;
	enum setting_kind kind;
	size_t offset;                 /* into the section's struct */
	const char *preset;            /* the default, spelled as in JSON without quotes for texts; NULL: none */
	int64_t minimum, maximum;      /* numbers: bounds; texts: length bounds when maximum > 0 */
	const char *const *choices;    /* SETTING_CHOICE: NULL-terminated words */
	const struct setting *members; /* SETTING_OBJECTS */
	size_t member_count, object_size;
	const char *help;
};

struct setting_section {
	const char *name;
	const struct setting *settings;
	size_t count;
	void *target;
};

/* Fills every target with its defaults, then with the file's values (file may be NULL: defaults alone). On failure
 * writes one line "FILE: section.key: what is wrong; allowed: ..." into `error` and leaves the targets at whatever they
 * hold: load into fresh structs and swap. */
enum status config_load(
	const char *file, struct setting_section *sections, size_t count, struct buffer *error) MUST_CHECK;
/* The same from memory (tests, fuzzing); `name` stands for the file in messages. */
enum status config_parse(const char *name, struct text content, struct setting_section *sections, size_t count,
	struct buffer *error) MUST_CHECK;
/* Every effective setting with its help, as JSON with // comments above each key. */
void config_print(FILE *out, const struct setting_section *sections, size_t count);
/* Has the setting the same value in two targets of its section? */
bool config_is_same(const struct setting *setting, const void *target, const void *other);
void config_free(struct setting_section *sections, size_t count);
