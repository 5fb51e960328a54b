/* Names and texts of the result type. */
#include "server/base/status.h"

static const char *const texts[] = {
#define STATUS_TEXT(name, text) text,
	STATUS_LIST(STATUS_TEXT)
#undef STATUS_TEXT
};

/* Every name in capitals, lowered once before main: the list stays the only place that spells them. */
static char names[sizeof(texts) / sizeof(texts[0])][16] = {
#define STATUS_NAME(name, text) #name,
	STATUS_LIST(STATUS_NAME)
#undef STATUS_NAME
};

__attribute__((constructor)) static void lower_names(void)
{
	for (unsigned i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		for (char *c = names[i]; *c; c++)
			if (*c >= 'A' && *c <= 'Z')
				*c = (char)(*c + ('a' - 'A'));
}

const char *status_text(enum status status)
{
	return (unsigned)status < sizeof(texts) / sizeof(texts[0]) ? texts[status] : "unknown status";
}

const char *status_name(enum status status)
{
	return (unsigned)status < sizeof(names) / sizeof(names[0]) ? names[status] : "unknown";
}
