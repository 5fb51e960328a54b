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

/* Behind its '{'. *is_seat: it takes room. */
static bool take_vpa(struct text *rest, struct seat *seat, bool *is_seat)
{
	struct text name, type = TEXT_NONE, state = TEXT_NONE;
	*seat = (struct seat){.cell = TEXT_NONE};
	while (!take(rest, '}')) {
		struct text *into;
		if (!take_string(rest, &name))
			return false;
		into = text_equals(name, TEXT("cellId"))  ? &seat->cell
			   : text_equals(name, TEXT("type"))  ? &type
			   : text_equals(name, TEXT("state")) ? &state
												  : NULL;
		if (into == NULL ? !skip_value(rest) : !take_string(rest, into) && !skip_value(rest))
			return false;
	}
	*is_seat = vpa_type_parse(type, &seat->type) && seat->cell.length > 0 && !text_equals(state, TEXT("disposed"));
	return true;
}

size_t seats_read(struct text body, struct seat seats[SEATS_MAX])
{
	struct text name;
	size_t count = 0;
	bool is_seat = false;
	if (!take(&body, '{'))
		return 0;
	while (take_string(&body, &name) && !text_equals(name, TEXT("vpas"))) {
		if (!skip_value(&body))
			return 0;
	}
	if (!take(&body, '['))
		return 0;
	while (count < SEATS_MAX && take(&body, '{')) {
		if (!take_vpa(&body, &seats[count], &is_seat))
			return 0;
		count += is_seat;
	}
	return count;
}
