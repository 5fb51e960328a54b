/* Values of ODRL constraints. */
#include "tenants/dp/contract/policy_value.h"

enum { DAY_MS = 86400000, FRACTION_DIGITS = 9 };
static const int64_t span_max = (int64_t)36525 * DAY_MS;

static bool is_digit(char byte)
{
	return byte >= '0' && byte <= '9';
}

static bool take(struct text *rest, char byte)
{
	if (rest->length == 0 || rest->bytes[0] != byte)
		return false;
	*rest = text_slice(*rest, 1, rest->length);
	return true;
}

/* Exactly `count` digits. */
static bool take_digits(struct text *rest, size_t count, int64_t *value)
{
	*value = 0;
	if (rest->length < count)
		return false;
	for (size_t i = 0; i < count; i++) {
		if (!is_digit(rest->bytes[i]))
			return false;
		*value = *value * 10 + (rest->bytes[i] - '0');
	}
	*rest = text_slice(*rest, count, rest->length);
	return true;
}

/* One to fifteen digits, and up to nine behind a point: the whole part, and billionths. */
static bool take_decimal(struct text *rest, int64_t *whole, int64_t *billionths)
{
	size_t count = 0;
	while (count < rest->length && is_digit(rest->bytes[count]))
		count++;
	*billionths = 0;
	if (count == 0 || count > 15 || !take_digits(rest, count, whole))
		return false;
	if (!take(rest, '.'))
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

/* --- time */

static int64_t days_before(int64_t year, int64_t month, int64_t day)
{
	/* the year begins in March: the odd day is its last */
	year -= month <= 2;
	int64_t era = year / 400, of_era = year - era * 400;
	int64_t of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
	return era * 146097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719468;
}

static bool take_day(struct text *rest, int64_t *days)
{
	static const int8_t lengths[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
	int64_t year, month, day;
	if (!take_digits(rest, 4, &year) || !take(rest, '-') || !take_digits(rest, 2, &month) || !take(rest, '-') ||
		!take_digits(rest, 2, &day) || year < 1970 || month < 1 || month > 12 || day < 1)
		return false;
	bool is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
	if (day > lengths[month - 1] + (month == 2 && is_leap ? 1 : 0))
		return false;
	*days = days_before(year, month, day);
	return true;
}

static bool take_clock(struct text *rest, int64_t *ms)
{
	int64_t hour, minute, second, billionths = 0;
	if (!take_digits(rest, 2, &hour) || !take(rest, ':') || !take_digits(rest, 2, &minute) || !take(rest, ':') ||
		!take_digits(rest, 2, &second))
		return false;
	if (rest->length > 0 && rest->bytes[0] == '.') {
		int64_t scale = 100000000;
		size_t places = 1;
		for (; places < rest->length && is_digit(rest->bytes[places]); places++, scale /= 10)
			billionths += (rest->bytes[places] - '0') * scale; /* beyond the ninth: nothing */
		if (places == 1)
			return false;
		*rest = text_slice(*rest, places, rest->length);
	}
	bool is_midnight = hour == 24 && minute == 0 && second == 0 && billionths == 0;
	*ms = ((hour * 60 + minute) * 60 + second) * 1000 + billionths / 1000000;
	return (hour < 24 || is_midnight) && minute < 60 && second < 60;
}

/* "", "Z", "+01:00" */
static bool take_zone(struct text *rest, int64_t *ms)
{
	int64_t hour, minute;
	*ms = 0;
	if (rest->length == 0 || take(rest, 'Z'))
		return true;
	int64_t sign = rest->bytes[0] == '-' ? -1 : 1;
	if ((!take(rest, '+') && !take(rest, '-')) || !take_digits(rest, 2, &hour) || !take(rest, ':') ||
		!take_digits(rest, 2, &minute))
		return false;
	*ms = sign * (hour * 60 + minute) * INT64_C(60000);
	return hour * 60 + minute <= INT64_C(840) && minute < 60;
}

enum status time_parse(struct text text, int64_t *wall_ms, bool *is_day)
{
	int64_t days, clock = 0, zone;
	if (!take_day(&text, &days))
		return STATUS_INVALID;
	bool has_clock = take(&text, 'T');
	if ((has_clock && !take_clock(&text, &clock)) || !take_zone(&text, &zone) || text.length > 0)
		return STATUS_INVALID;
	*wall_ms = days * DAY_MS + clock - zone;
	*is_day = !has_clock;
	return STATUS_OK;
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
	if (!take(&text, 'P')) {
		if (!add_span(&text, short_units, &sum) || text.length > 0)
			return STATUS_INVALID;
	} else {
		const struct span_unit *units = day_units;
		do {
			if (units == day_units && take(&text, 'T'))
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
