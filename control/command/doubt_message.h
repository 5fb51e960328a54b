/* What is asked about a cell that is silent, and what is answered (control.md 2.5, 2.6), as core messages, JSON:
 *
 * celld.doubt                    to all replicas of the manager
 * celld.probe.<cell asked>       to another cell, with the ingress it shall try
 *   {"v":1,"from":"<32 hex>","q":12,"cell":"cell-1","url":"https://..."}
 * celld.view.<from>.<replica>    a replica's answer, celld.word.<from>.<cell asked> a cell's
 *   {"v":1,"q":12,"cell":"cell-1","alive":true}
 *
 * The broker lets a cell speak on its own subject alone. Who knows nothing answers nothing. */
#pragma once

#include "server/base/id.h"
#include "server/base/json.h"

enum { DOUBT_CELL_MAX = 64, DOUBT_URL_MAX = 2048 };
#define DOUBT_SUBJECT "celld.doubt"
#define DOUBT_PROBE_SUBJECT "celld.probe."
#define DOUBT_VIEW_SUBJECT "celld.view."
#define DOUBT_WORD_SUBJECT "celld.word."

struct doubt_question {
	char from[ID_LENGTH + 1];
	uint32_t number;
	char cell[DOUBT_CELL_MAX + 1]; /* the silent one */
	struct text url;               /* its ingress; absent: none */
	struct json *root;             /* owns the url */
};
/* INVALID: no question. doubt_question_free what is OK. */
enum status doubt_question_parse(struct text body, struct doubt_question *question) MUST_CHECK;
void doubt_question_free(struct doubt_question *question);
void doubt_question_print(const struct doubt_question *question, struct buffer *into);

struct doubt_answer {
	uint32_t number;
	char cell[DOUBT_CELL_MAX + 1];
	bool is_alive;
};
enum status doubt_answer_parse(struct text body, struct doubt_answer *answer) MUST_CHECK;
void doubt_answer_print(const struct doubt_answer *answer, struct buffer *into);
