/* Spellings of ODRL in JSON. */
#include "tenants/dp/contract/odrl.h"

#include <string.h>

static const struct {
	const char *text;
	enum odrl_space space;
} prefixes[] = {
	{"odrl:", SPACE_ODRL},
	{"http://www.w3.org/ns/odrl/2/", SPACE_ODRL},
	{"edc:", SPACE_EDC},
	{"https://w3id.org/edc/v0.0.1/ns/", SPACE_EDC},
	{"celld:", SPACE_CELLD},
};

struct text odrl_local_name(struct text name, enum odrl_space *space)
{
	*space = SPACE_BARE;
	for (size_t i = 0; i < sizeof(prefixes) / sizeof(prefixes[0]); i++) {
		if (text_starts_with(name, text_of(prefixes[i].text))) {
			*space = prefixes[i].space;
			return text_slice(name, strlen(prefixes[i].text), name.length);
		}
	}
	return name;
}

struct text odrl_name(struct text name)
{
	enum odrl_space space;
	struct text local = odrl_local_name(name, &space);
	return space == SPACE_ODRL || space == SPACE_BARE ? local : name;
}

const struct json *odrl_member(const struct json *object, const char *name)
{
	for (const struct json *at = json_first(object); at != NULL; at = json_next(at)) {
		if (text_equals(odrl_name(text_of(json_name(at))), text_of(name)))
			return at;
	}
	return NULL;
}

const struct json *odrl_first(const struct json *list)
{
	if (list != NULL && json_kind(list) == JSON_OBJECT && json_member(list, "@list") != NULL)
		list = json_member(list, "@list");
	return list != NULL && json_kind(list) == JSON_ARRAY ? json_first(list) : list;
}

const struct json *odrl_next(const struct json *list, const struct json *item)
{
	return odrl_first(list) == list ? NULL : json_next(item);
}

struct text odrl_scalar(const struct json *value, char room[24])
{
	static const char *const wrappers[] = {"@value", "@id", "uid", "value"};
	const struct json *one = odrl_first(value);
	int64_t number;
	if (one == NULL || odrl_next(value, one) != NULL)
		return TEXT_NONE;
	for (size_t i = 0; i < sizeof(wrappers) / sizeof(wrappers[0]) && json_kind(one) == JSON_OBJECT; i++) {
		if (json_member(one, wrappers[i]) != NULL)
			one = json_member(one, wrappers[i]);
	}
	if (json_integer(one, &number) && number >= 0) {
		char *end = room + 23, *at = end;
		do
			*--at = (char)('0' + number % 10);
		while ((number /= 10) > 0);
		return (struct text){at, (size_t)(end - at)};
	}
	return json_text(one);
}
