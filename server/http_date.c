/* HTTP dates: one format string a form, walked byte by byte. */
#include "server/http_date.h"

#include <string.h>

static const char day_names[7][4] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
static const char month_names[12][4] = {
	"Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};

struct date {
	int year, month, day, hour, minute, second;
};

/* Days since 1970-01-01 of a date of the Gregorian calendar, counted in years that begin in March. */
static int64_t days_from_date(int year, int month, int day)
{
	int64_t shifted = month <= 2 ? year - 1 : year;
	int64_t era = (shifted >= 0 ? shifted : shifted - 399) / 400;
	int64_t year_of_era = shifted - era * 400;
	int64_t day_of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
	return era * 146097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719468;
}

static struct date date_from_days(int64_t days)
{
	days += 719468;
	int64_t era = (days >= 0 ? days : days - 146096) / 146097;
	int64_t day_of_era = days - era * 146097;
	int64_t year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365;
	int64_t day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
	int64_t month = (5 * day_of_year + 2) / 153;
	struct date date = {.day = (int)(day_of_year - (153 * month + 2) / 5 + 1)};
	date.month = (int)(month < 10 ? month + 3 : month - 9);
	date.year = (int)(year_of_era + era * 400 + (date.month <= 2));
	return date;
}

static void digits_write(char *into, int value, int count)
{
	while (count-- > 0) {
		into[count] = (char)('0' + value % 10);
		value /= 10;
	}
}

void http_date_format(int64_t seconds, char into[HTTP_DATE_LENGTH + 1])
{
	const int64_t least = days_from_date(0, 1, 1) * 86400, most = days_from_date(10000, 1, 1) * 86400 - 1;
	seconds = seconds < least ? least : seconds > most ? most : seconds;
	int64_t days = seconds / 86400 - (seconds % 86400 < 0), of_day = seconds - days * 86400;
	struct date date = date_from_days(days);
	memcpy(into, "Sun, 00 Jan 0000 00:00:00 GMT", HTTP_DATE_LENGTH + 1);
	memcpy(into, day_names[((days + 4) % 7 + 7) % 7], 3);
	memcpy(into + 8, month_names[date.month - 1], 3);
	digits_write(into + 5, date.day, 2);
	digits_write(into + 12, date.year, 4);
	digits_write(into + 17, (int)(of_day / 3600), 2);
	digits_write(into + 20, (int)(of_day / 60 % 60), 2);
	digits_write(into + 23, (int)(of_day % 60), 2);
}

static bool number_read(struct text *rest, size_t digits, int *value)
{
	*value = 0;
	if (rest->length < digits)
		return false;
	for (size_t i = 0; i < digits; i++) {
		if (rest->bytes[i] < '0' || rest->bytes[i] > '9')
			return false;
		*value = *value * 10 + rest->bytes[i] - '0';
	}
	*rest = text_slice(*rest, digits, rest->length);
	return true;
}

static bool name_read(struct text *rest, const char (*names)[4], int count, int *index)
{
	for (*index = 0; *index < count; ++*index)
		if (rest->length >= 3 && memcmp(rest->bytes, names[*index], 3) == 0) {
			*rest = text_slice(*rest, 3, rest->length);
			return true;
		}
	return false;
}

/* The rest of a long day name; which one it was is known. */
static bool long_day_read(struct text *rest, int day)
{
	static const char *const ends[7] = {"day", "day", "sday", "nesday", "rsday", "day", "urday"};
	struct text end = text_of(ends[day]);
	if (!text_starts_with(*rest, end))
		return false;
	*rest = text_slice(*rest, end.length, rest->length);
	return true;
}

/* a: day name, A: the rest of a long one, d: day, e: day padded with a space, b: month, Y/y: year of 4 or 2 digits, H M
 * S. */
static bool part_read(char part, struct text *rest, struct date *date, int *weekday)
{
	bool fine = false;
	switch (part) {
	case 'a':
		return name_read(rest, day_names, 7, weekday);
	case 'A':
		return long_day_read(rest, *weekday);
	case 'b':
		fine = name_read(rest, month_names, 12, &date->month);
		date->month++;
		return fine;
	case 'e':
		if (rest->length > 0 && rest->bytes[0] == ' ') {
			*rest = text_slice(*rest, 1, rest->length);
			return number_read(rest, 1, &date->day);
		}
		return number_read(rest, 2, &date->day);
	case 'd':
		return number_read(rest, 2, &date->day);
	case 'Y':
		return number_read(rest, 4, &date->year);
	case 'y':
		return number_read(rest, 2, &date->year);
	case 'H':
		return number_read(rest, 2, &date->hour);
	case 'M':
		return number_read(rest, 2, &date->minute);
	case 'S':
		return number_read(rest, 2, &date->second);
	default:
		return false;
	}
}

static bool form_read(const char *form, struct text rest, struct date *date)
{
	int weekday = 0;
	for (; *form != '\0'; form++) {
		if (*form == '%') {
			if (!part_read(*++form, &rest, date, &weekday))
				return false;
			continue;
		}
		if (rest.length == 0 || rest.bytes[0] != *form)
			return false;
		rest = text_slice(rest, 1, rest.length);
	}
	return rest.length == 0;
}

/* A leap second is taken as the one before it. */
static bool date_is_real(struct date *date)
{
	static const int days[12] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
	bool leap = date->year % 4 == 0 && (date->year % 100 != 0 || date->year % 400 == 0);
	if (date->second == 60)
		date->second = 59;
	return date->day >= 1 && date->day <= days[date->month - 1] + (date->month == 2 && leap) && date->hour <= 23 &&
		   date->minute <= 59 && date->second <= 59;
}

enum status http_date_parse(struct text text, int64_t now, int64_t *seconds)
{
	struct date date = {0};
	if (form_read("%a%A, %d-%b-%y %H:%M:%S GMT", text, &date)) {
		/* More than 50 years ahead means the last year with these digits. */
		int year = date_from_days(now / 86400).year;
		date.year += year - year % 100;
		if (date.year > year + 50)
			date.year -= 100;
	} else if (!form_read("%a, %d %b %Y %H:%M:%S GMT", text, &date) &&
			   !form_read("%a %b %e %H:%M:%S %Y", text, &date)) {
		return STATUS_INVALID;
	}
	if (!date_is_real(&date))
		return STATUS_INVALID;
	*seconds = days_from_date(date.year, date.month, date.day) * 86400 + (int64_t)date.hour * 3600 +
			   (int64_t)date.minute * 60 + date.second;
	return STATUS_OK;
}
