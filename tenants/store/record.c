/* The kinds of records: their names, and how each is kept. */
#include "tenants/store/backend.h"

const char *record_kind_name(enum record_kind kind)
{
	static const char *const names[] = {
#define RECORD_NAME(name, text, loading) text,
		RECORD_LIST(RECORD_NAME)
#undef RECORD_NAME
	};
	return names[kind];
}

static const enum {
	ON_DEMAND,
	LOADED,
	PASSING
} loadings[] = {
#define RECORD_LOADING(name, text, loading) loading,
	RECORD_LIST(RECORD_LOADING)
#undef RECORD_LOADING
};

bool record_kind_is_loaded(enum record_kind kind)
{
	return loadings[kind] != ON_DEMAND;
}

bool record_kind_passes(enum record_kind kind)
{
	return loadings[kind] == PASSING;
}

bool record_kind_find(struct text name, enum record_kind *kind)
{
	for (int i = 0; i < RECORD_KIND_COUNT; i++) {
		if (text_equals(text_of(record_kind_name((enum record_kind)i)), name)) {
			*kind = (enum record_kind)i;
			return true;
		}
	}
	return false;
}
