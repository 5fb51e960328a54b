/* Values of ODRL constraints. */
#include "tenants/dp/contract/policy_value.h"

enum { DAY_MS = 86400000, FRACTION_DIGITS = 9 };
static const int64_t span_max = (int64_t)36525 * DAY_MS;

static bool is_digit(char byte)
{
	return byte >= '0' && byte <= '9';
}

/* One to fifteen digits, and up to nine behind a point: the whole part, and billionths. */
static bool take_decimal(struct text *rest, int64_t *whole, int64_t *billionths)
{
	size_t count = 0;
	while (count < rest->length && is_digit(rest->bytes[count]))
		count++;
	*billionths = 0;
	if (count == 0 || count > 15 || !text_take_digits(rest, count, whole))
		return false;
	if (!text_take_byte(rest, '.'))
		return true;
	size_t places = 0;
	for (; places < rest->length && is_digit(rest->bytes[places]); places++) {
		if (places == FRACTION_DIGITS)
			return false;
		*billionths = *billionths * 10 + (rest->bytes[places] - '0');
	}
	*rest = text_slice(*rest, places, rest->length);
	for (size_t i = places; i < FRACTION_DIGITS; i++)
		*billionths *= 10;
	return places > 0;
}

/* --- spans */

struct span_unit {
	char letter;
	int64_t ms;
};
static const struct span_unit day_units[] = {{'D', DAY_MS}, {0, 0}},
							  clock_units[] = {{'H', 3600000}, {'M', 60000}, {'S', 1000}, {0, 0}},
							  short_units[] = {{'d', DAY_MS}, {'h', 3600000}, {'m', 60000}, {'s', 1000}, {0, 0}};

static bool add_span(struct text *rest, const struct span_unit *unit, int64_t *ms)
{
	int64_t whole, billionths;
	if (!take_decimal(rest, &whole, &billionths) || rest->length == 0)
		return false;
	while (unit->letter != 0 && unit->letter != rest->bytes[0])
		unit++;
	if (unit->letter == 0 || whole > span_max / unit->ms)
		return false;
	*rest = text_slice(*rest, 1, rest->length);
	*ms += whole * unit->ms + billionths / 1000 * unit->ms / 1000000;
	return *ms <= span_max;
}

enum status span_parse(struct text text, int64_t *ms)
{
	int64_t sum = 0;
	if (!text_take_byte(&text, 'P')) {
		if (!add_span(&text, short_units, &sum) || text.length > 0)
			return STATUS_INVALID;
	} else {
		const struct span_unit *units = day_units;
		do {
			if (units == day_units && text_take_byte(&text, 'T'))
				units = clock_units;
			if (!add_span(&text, units, &sum))
				return STATUS_INVALID;
		} while (text.length > 0);
	}
	*ms = sum;
	return STATUS_OK;
}

/* --- numbers */

enum status count_parse(struct text text, uint64_t *count)
{
	int64_t whole, billionths;
	if (!take_decimal(&text, &whole, &billionths) || text.length > 0 || billionths != 0)
		return STATUS_INVALID;
	*count = (uint64_t)whole;
	return STATUS_OK;
}

static const struct {
	const char *name;
	int64_t bytes;
} units[] = {
	{"", 1},
	{"B", 1},
	{"byte", 1},
	{"bytes", 1},
	{"octet", 1},
	{"octets", 1},
	{"kB", 1000},
	{"kilobyte", 1000},
	{"kilobytes", 1000},
	{"MB", 1000000},
	{"megabyte", 1000000},
	{"megabytes", 1000000},
	{"GB", 1000000000},
	{"gigabyte", 1000000000},
	{"gigabytes", 1000000000},
	{"TB", 1000000000000},
	{"terabyte", 1000000000000},
	{"terabytes", 1000000000000},
	{"KiB", (int64_t)1 << 10},
	{"kibibyte", (int64_t)1 << 10},
	{"MiB", (int64_t)1 << 20},
	{"mebibyte", (int64_t)1 << 20},
	{"GiB", (int64_t)1 << 30},
	{"gibibyte", (int64_t)1 << 30},
	{"TiB", (int64_t)1 << 40},
	{"tebibyte", (int64_t)1 << 40},
};

static int64_t unit_bytes(struct text unit)
{
	size_t from = 0;
	for (size_t i = 0; i < unit.length; i++)
		from = unit.bytes[i] == '/' || unit.bytes[i] == '#' || unit.bytes[i] == ':' ? i + 1 : from;
	struct text name = text_slice(unit, from, unit.length);
	for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++) {
		if (text_equals_ignoring_case(name, text_of(units[i].name)))
			return units[i].bytes;
	}
	return 0;
}

enum status bytes_parse(struct text text, struct text unit, uint64_t *bytes)
{
	int64_t whole, billionths, scale;
	if (!take_decimal(&text, &whole, &billionths))
		return STATUS_INVALID;
	text = text_trim(text);
	if (text.length > 0 && unit.length > 0)
		return STATUS_INVALID;
	scale = unit_bytes(unit.length > 0 ? unit : text);
	if (scale == 0 || whole > ((int64_t)1 << 53) / scale)
		return STATUS_INVALID;
	*bytes = (uint64_t)(whole * scale) + (uint64_t)((unsigned __int128)scale * (uint64_t)billionths / 1000000000U);
	return STATUS_OK;
}
