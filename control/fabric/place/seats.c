/* A walk over JSON that is known to be JSON: the store has only what was checked. Whatever comes, it stays within it.
 */
#include "control/fabric/place/seats.h"

enum { DEPTH_MAX = 64 };

static void skip_blanks(struct text *rest)
{
	size_t at = 0;
	while (at < rest->length && (rest->bytes[at] == ' ' || rest->bytes[at] == '\t' || rest->bytes[at] == '\n' ||
									rest->bytes[at] == '\r' || rest->bytes[at] == ',' || rest->bytes[at] == ':'))
		at++;
	*rest = text_slice(*rest, at, rest->length);
}

/* A string as it is written, without its quotes; ids and words have no escapes. */
static bool take_string(struct text *rest, struct text *string)
{
	skip_blanks(rest);
	if (rest->length == 0 || rest->bytes[0] != '"')
		return false;
	size_t at = 1;
	while (at < rest->length && rest->bytes[at] != '"')
		at += rest->bytes[at] == '\\' ? 2 : 1;
	if (at >= rest->length)
		return false;
	*string = text_slice(*rest, 1, at);
	*rest = text_slice(*rest, at + 1, rest->length);
	return true;
}

/* Any value, however deep. */
static bool skip_value(struct text *rest)
{
	struct text string;
	int depth = 0;
	do {
		skip_blanks(rest);
		if (rest->length == 0)
			return false;
		char first = rest->bytes[0];
		if (first == '"') {
			if (!take_string(rest, &string))
				return false;
			continue;
		}
		size_t at = 1;
		depth += first == '{' || first == '[' ? 1 : first == '}' || first == ']' ? -1 : 0;
		while (strchr("{}[]", first) == NULL && at < rest->length && strchr(",:{}[]\" \t\r\n", rest->bytes[at]) == NULL)
			at++;
		*rest = text_slice(*rest, at, rest->length);
	} while (depth > 0 && depth < DEPTH_MAX);
	return depth == 0;
}

static bool take(struct text *rest, char byte)
{
	skip_blanks(rest);
	if (rest->length == 0 || rest->bytes[0] != byte)
		return false;
	*rest = text_slice(*rest, 1, rest->length);
	return true;
}

struct vpa {
	struct text cell, type, state;
};

/* Behind its '{'. */
static bool take_vpa(struct text *rest, struct vpa *vpa)
{
	struct text name;
	*vpa = (struct vpa){.cell = TEXT_NONE};
	while (!take(rest, '}')) {
		struct text *into;
		if (!take_string(rest, &name))
			return false;
		into = text_equals(name, TEXT("cellId"))  ? &vpa->cell
			   : text_equals(name, TEXT("type"))  ? &vpa->type
			   : text_equals(name, TEXT("state")) ? &vpa->state
												  : NULL;
		if (into == NULL ? !skip_value(rest) : !take_string(rest, into) && !skip_value(rest))
			return false;
	}
	return true;
}

/* To the first of "vpas". False: there are none. */
static bool find_vpas(struct text *rest)
{
	struct text name;
	if (!take(rest, '{'))
		return false;
	while (take_string(rest, &name) && !text_equals(name, TEXT("vpas"))) {
		if (!skip_value(rest))
			return false;
	}
	return take(rest, '[');
}

size_t seats_states(struct text body, struct text states[SEATS_MAX])
{
	struct vpa vpa;
	size_t count = 0;
	if (!find_vpas(&body))
		return 0;
	for (; count < SEATS_MAX && take(&body, '{'); count++) {
		if (!take_vpa(&body, &vpa))
			return 0;
		states[count] = vpa.state;
	}
	return count;
}

size_t seats_read(struct text body, struct seat seats[SEATS_MAX])
{
	struct vpa vpa;
	size_t count = 0;
	if (!find_vpas(&body))
		return 0;
	while (count < SEATS_MAX && take(&body, '{')) {
		if (!take_vpa(&body, &vpa))
			return 0;
		seats[count].cell = vpa.cell;
		count += vpa_type_parse(vpa.type, &seats[count].type) && vpa.cell.length > 0 &&
				 !text_equals(vpa.state, TEXT("disposed"));
	}
	return count;
}
