/* Reading times by their grammar, and civil days. */
#include "server/base/timestamp.h"

enum { DAY_S = 24 * 3600, DAY_MS = 86400000, ZONE_MAX_S = 14 * 3600, FRACTION_MAX = 9 };

struct moment {
	int64_t year, month, day, hour, minute, second;
	struct text fraction; /* the digits behind the point */
	int64_t offset_s;     /* east of UTC */
};

/* --- civil days: years begin in March, so that the leap day is the last */

/* Days since 1970-01-01 of the Gregorian calendar. */
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

static int64_t month_length(int64_t year, int64_t month)
{
	static const uint8_t lengths[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
	bool is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
	return lengths[month - 1] + (month == 2 && is_leap);
}

/* --- the grammar: each takes what it reads from the front of `rest` */

static bool take_date(struct text *rest, struct moment *moment)
{
	return text_take_digits(rest, 4, &moment->year) && text_take_byte(rest, '-') &&
		   text_take_digits(rest, 2, &moment->month) && text_take_byte(rest, '-') &&
		   text_take_digits(rest, 2, &moment->day) && moment->month >= 1 && moment->month <= 12 && moment->day >= 1 &&
		   moment->day <= month_length(moment->year, moment->month);
}

static bool take_fraction(struct text *rest, struct text *digits)
{
	size_t count = 0;
	*digits = TEXT_NONE;
	if (!text_take_byte(rest, '.'))
		return true;
	while (count < rest->length && rest->bytes[count] >= '0' && rest->bytes[count] <= '9')
		count++;
	*digits = text_slice(*rest, 0, count);
	*rest = text_slice(*rest, count, rest->length);
	return count > 0;
}

/* 24:00:00 too: who does not want it looks at the hour. */
static bool take_clock(struct text *rest, struct moment *moment)
{
	return text_take_digits(rest, 2, &moment->hour) && text_take_byte(rest, ':') &&
		   text_take_digits(rest, 2, &moment->minute) && text_take_byte(rest, ':') &&
		   text_take_digits(rest, 2, &moment->second) && take_fraction(rest, &moment->fraction) && moment->hour <= 24 &&
		   moment->minute < 60 && moment->second < 60;
}

/* "+01:00", not more than `limit_s` from UTC. */
static bool take_offset(struct text *rest, int64_t limit_s, struct moment *moment)
{
	int64_t hours, minutes, sign = text_take_byte(rest, '-') ? -1 : 1;
	if ((sign > 0 && !text_take_byte(rest, '+')) || !text_take_digits(rest, 2, &hours) || !text_take_byte(rest, ':') ||
		!text_take_digits(rest, 2, &minutes) || minutes >= 60)
		return false;
	moment->offset_s = sign * (hours * 3600 + minutes * 60);
	return hours * 3600 + minutes * 60 <= limit_s;
}

/* Beyond the ninth digit: nothing. */
static int64_t fraction_ns(struct text digits)
{
	int64_t scale = 100000000, sum = 0;
	for (size_t i = 0; i < digits.length && scale > 0; i++, scale /= 10)
		sum += (digits.bytes[i] - '0') * scale;
	return sum;
}

/* --- what is asked for */

enum status timestamp_normal(struct text text, struct buffer *into)
{
	struct moment moment = {0};
	if (!take_date(&text, &moment) || moment.year < 1 || (!text_take_byte(&text, 'T') && !text_take_byte(&text, 't')) ||
		!take_clock(&text, &moment) || moment.hour == 24 || moment.fraction.length > FRACTION_MAX ||
		(!text_take_byte(&text, 'Z') && !text_take_byte(&text, 'z') && !take_offset(&text, DAY_S - 1, &moment)) ||
		text.length > 0)
		return STATUS_INVALID;
	int64_t days = days_of(moment.year, moment.month, moment.day);
	int64_t seconds = moment.hour * 3600 + moment.minute * 60 + moment.second - moment.offset_s;
	days += seconds < 0 ? -1 : seconds >= DAY_S ? 1 : 0;
	seconds = (seconds + DAY_S) % DAY_S;
	civil_of(days, &moment.year, &moment.month, &moment.day);
	if (moment.year < 1 || moment.year > 9999)
		return STATUS_INVALID;
	struct text fraction = moment.fraction;
	while (fraction.length > 0 && fraction.bytes[fraction.length - 1] == '0')
		fraction.length--;
	buffer_printf(into, "%04d-%02d-%02dT%02d:%02d:%02d%s%.*sZ", (int)moment.year, (int)moment.month, (int)moment.day,
		(int)(seconds / 3600), (int)(seconds / 60 % 60), (int)(seconds % 60), fraction.length > 0 ? "." : "",
		TEXT_ARGUMENTS(fraction));
	return STATUS_OK;
}

enum status time_parse(struct text text, int64_t *wall_ms, bool *is_day)
{
	struct moment moment = {0};
	if (!take_date(&text, &moment) || moment.year < 1970)
		return STATUS_INVALID;
	bool has_clock = text_take_byte(&text, 'T');
	if (has_clock && !take_clock(&text, &moment))
		return STATUS_INVALID;
	int64_t seconds = moment.hour * 3600 + moment.minute * 60 + moment.second, ns = fraction_ns(moment.fraction);
	if (seconds > DAY_S || (seconds == DAY_S && ns > 0))
		return STATUS_INVALID;
	bool has_zone = text.length > 0 && !text_take_byte(&text, 'Z');
	if ((has_zone && !take_offset(&text, ZONE_MAX_S, &moment)) || text.length > 0)
		return STATUS_INVALID;
	*wall_ms =
		days_of(moment.year, moment.month, moment.day) * DAY_MS + (seconds - moment.offset_s) * 1000 + ns / 1000000;
	*is_day = !has_clock;
	return STATUS_OK;
}
