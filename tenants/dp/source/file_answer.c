/* Answers from files: the one that was made last stays with the open file. */
#include "tenants/dp/source/file_answer.h"

#include <stdlib.h>

#include "tenants/dp/source/validator.h"

static struct file_answer *make(
	const struct open_file *file, const struct dataset_part *part, struct text content_type, struct text below)
{
	char etag[FILE_TAG_LENGTH + 1];
	file_tag_print(part->binding, part->has_version, below, file, etag);
	const struct header fields[] = {
		{TEXT("content-type"), content_type},
		{TEXT("accept-ranges"), TEXT("bytes")},
		{TEXT("etag"), text_of(etag)},
		{TEXT("last-modified"), {file->modified, HTTP_DATE_LENGTH}},
	};
	struct file_answer *answer = malloc(sizeof(*answer) + below.length);
	struct known_fields *known = known_fields_new(fields, sizeof(fields) / sizeof(fields[0]));
	if (answer == NULL || known == NULL) {
		free(answer);
		known_fields_free(known);
		return NULL;
	}
	char *copy = (char *)(answer + 1);
	if (below.length > 0)
		memcpy(copy, below.bytes, below.length);
	*answer = (struct file_answer){
		.part = part->serial, .fields = known, .below = {copy, below.length}, .etag = known->fields[2].value};
	return answer;
}

struct file_answer *file_answer_take(
	const struct open_file *file, const struct dataset_part *part, struct text content_type, struct text below)
{
	struct file_answer **kept = open_file_answer(file), *answer = *kept;
	if (answer == NULL || answer->part != part->serial || !text_equals(answer->below, below)) {
		answer = make(file, part, content_type, below);
		if (answer == NULL)
			return NULL;
		answer->users++;
		file_answer_leave(*kept);
		*kept = answer;
	}
	answer->users++;
	return answer;
}

void file_answer_leave(struct file_answer *answer)
{
	if (answer == NULL || --answer->users > 0)
		return;
	known_fields_free(answer->fields);
	free(answer);
}
