/* Definitions, inside: activity_definitions.c has those of activities, definitions.c those of orchestrations and what
 * both share. On the fabric's worker. */
#pragma once

#include "control/fabric/orchestration/definitions.h"
#include "control/fabric/record_index.h"

struct definitions {
	struct state *state;
	struct record_index *activities, *orchestrations;
	bool (*is_used)(void *context, struct text type);
	void *context;
};

/* 400 with what `why` holds after the words. */
void definitions_refuse(struct rest_call *call, const char *words, const struct buffer *why);
/* 200 with an array of all in the index, or of those with this templateRef (absent: all). */
void definitions_answer(struct rest_call *call, const struct record_index *index, struct text template_ref,
	void (*print)(const struct json *definition, struct buffer *into));
/* ,"description":"..." when there is one */
void definitions_print_description(const struct json *object, struct buffer *into);
/* ,"<name>": the schema of that name, or null */
void definitions_print_schema(const struct json *object, const char *name, struct buffer *into);

/* --- activity_definitions.c: the endpoints */
void activities_list(struct rest_call *call);
void activities_put(struct rest_call *call);
void activities_delete(struct rest_call *call);
