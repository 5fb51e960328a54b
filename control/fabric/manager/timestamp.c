/* Reading RFC 3339 by its fixed places, and civil days. */
#include "control/fabric/manager/timestamp.h"

enum { DAY_S = 24 * 3600, FRACTION_MAX = 9 };

/* Days since 1970-01-01 of the Gregorian calendar. Years begin in March, so that the leap day is the last. */
static int64_t days_of(int64_t year, int64_t month, int64_t day)
{
	year -= month <= 2;
	int64_t era = year / 400, of_era = year % 400;
	int64_t of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
	return era * 146097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719468;
}

static void civil_of(int64_t days, int64_t *year, int64_t *month, int64_t *day)
{
	days += 719468;
	int64_t era = days / 146097, of_era = days % 146097;
	int64_t year_of_era = (of_era - of_era / 1460 + of_era / 36524 - of_era / 146096) / 365;
	int64_t of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
	int64_t from_march = (5 * of_year + 2) / 153;
	*day = of_year - (153 * from_march + 2) / 5 + 1;
	*month = from_march < 10 ? from_march + 3 : from_march - 9;
	*year = year_of_era + era * 400 + (*month <= 2);
}

/* Two or four digits at a fixed place, within bounds. */
static bool number_at(struct text text, size_t at, size_t digits, uint64_t minimum, uint64_t maximum, int64_t *number)
{
	uint64_t value;
	if (text.length < at + digits ||
		text_to_unsigned(text_slice(text, at, at + digits), maximum, &value) != STATUS_OK || value < minimum)
		return false;
	*number = (int64_t)value;
	return true;
}

static bool byte_at(struct text text, size_t at, char byte)
{
	return at < text.length &&
		   (text.bytes[at] == byte || ((byte == 'T' || byte == 'Z') && text.bytes[at] == (byte | 0x20)));
}

/* "Z" or "+hh:mm" at the end: seconds east. */
static bool offset_read(struct text text, int64_t *offset_s)
{
	int64_t hours, minutes;
	*offset_s = 0;
	if (text.length == 1 && byte_at(text, 0, 'Z'))
		return true;
	if (text.length != 6 || (text.bytes[0] != '+' && text.bytes[0] != '-') || text.bytes[3] != ':' ||
		!number_at(text, 1, 2, 0, 23, &hours) || !number_at(text, 4, 2, 0, 59, &minutes))
		return false;
	*offset_s = (hours * 3600 + minutes * 60) * (text.bytes[0] == '-' ? -1 : 1);
	return true;
}

static int64_t month_length(int64_t year, int64_t month)
{
	static const uint8_t lengths[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
	bool is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
	return lengths[month - 1] + (month == 2 && is_leap);
}

/* ".123" behind the seconds: its digits without zeros at the end; *end is behind it. */
static bool fraction_read(struct text text, size_t *end, struct text *digits)
{
	size_t at = *end;
	*digits = TEXT_NONE;
	if (!byte_at(text, at, '.'))
		return true;
	size_t first = ++at;
	while (at < text.length && text.bytes[at] >= '0' && text.bytes[at] <= '9')
		at++;
	if (at == first || at - first > FRACTION_MAX)
		return false;
	*end = at;
	while (at > first && text.bytes[at - 1] == '0')
		at--;
	*digits = text_slice(text, first, at);
	return true;
}

enum status timestamp_normal(struct text text, struct buffer *into)
{
	int64_t year, month, day, hour, minute, second, offset_s;
	struct text fraction;
	size_t end = 19;
	if (!number_at(text, 0, 4, 1, 9999, &year) || !byte_at(text, 4, '-') || !number_at(text, 5, 2, 1, 12, &month) ||
		!byte_at(text, 7, '-') || !number_at(text, 8, 2, 1, 31, &day) || !byte_at(text, 10, 'T') ||
		!number_at(text, 11, 2, 0, 23, &hour) || !byte_at(text, 13, ':') || !number_at(text, 14, 2, 0, 59, &minute) ||
		!byte_at(text, 16, ':') || !number_at(text, 17, 2, 0, 59, &second))
		return STATUS_INVALID;
	if (day > month_length(year, month) || !fraction_read(text, &end, &fraction) ||
		!offset_read(text_slice(text, end, text.length), &offset_s))
		return STATUS_INVALID;
	int64_t days = days_of(year, month, day), seconds = hour * 3600 + minute * 60 + second - offset_s;
	days += seconds < 0 ? -1 : seconds >= DAY_S ? 1 : 0;
	seconds = (seconds + DAY_S) % DAY_S;
	civil_of(days, &year, &month, &day);
	if (year < 1 || year > 9999)
		return STATUS_INVALID;
	buffer_printf(into, "%04d-%02d-%02dT%02d:%02d:%02d%s%.*sZ", (int)year, (int)month, (int)day, (int)(seconds / 3600),
		(int)(seconds / 60 % 60), (int)(seconds % 60), fraction.length > 0 ? "." : "", TEXT_ARGUMENTS(fraction));
	return STATUS_OK;
}
