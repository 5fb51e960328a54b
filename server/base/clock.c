/* The two clocks and the one time format. */
#include "server/base/clock.h"

#include <time.h>

static struct timespec now(clockid_t clock)
{
	struct timespec time;
	clock_gettime(clock, &time); /* cannot fail for the clocks used here */
	return time;
}

uint64_t clock_monotonic_ns(void)
{
	struct timespec time = now(CLOCK_MONOTONIC);
	return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

uint64_t clock_monotonic_ms(void)
{
	return clock_monotonic_ns() / 1000000u;
}

uint64_t clock_boot_ms(void)
{
	struct timespec time = now(CLOCK_BOOTTIME);
	return (uint64_t)time.tv_sec * 1000u + (uint64_t)time.tv_nsec / 1000000u;
}

int64_t clock_wall_ms(void)
{
	struct timespec time = now(CLOCK_REALTIME);
	return (int64_t)time.tv_sec * 1000 + time.tv_nsec / 1000000;
}

static void put_digits(char *into, int64_t number, int digits)
{
	while (digits > 0) {
		into[--digits] = (char)('0' + number % 10);
		number /= 10;
	}
}

/* Arithmetic instead of gmtime_r: no locale, no lock, and a tenth of the time in every log line. Years are counted from
 * March, so that the leap day is the last of its year; eras are 400 years. */
void clock_format(int64_t wall_ms, char into[25])
{
	static const int64_t earliest = -62167219200000, latest = 253402300799999; /* years 0000 and 9999 */
	if (wall_ms < earliest)
		wall_ms = earliest;
	if (wall_ms > latest)
		wall_ms = latest;
	int64_t shifted = wall_ms - earliest; /* from 0000-01-01, so nothing below is negative */
	int64_t in_day = shifted % 86400000, days = shifted / 86400000 - 60 + 146097; /* from -0400-03-01 */
	int64_t era = days / 146097, day = days % 146097;
	int64_t year = (day - day / 1460 + day / 36524 - day / 146096) / 365;
	int64_t of_year = day - (365 * year + year / 4 - year / 100);
	int64_t month = (5 * of_year + 2) / 153;
	int64_t of_month = of_year - (153 * month + 2) / 5 + 1;
	year += (era - 1) * 400 + (month >= 10);
	month = month < 10 ? month + 3 : month - 9;

	put_digits(into, year, 4);
	into[4] = '-';
	put_digits(into + 5, month, 2);
	into[7] = '-';
	put_digits(into + 8, of_month, 2);
	into[10] = 'T';
	put_digits(into + 11, in_day / 3600000, 2);
	into[13] = ':';
	put_digits(into + 14, in_day / 60000 % 60, 2);
	into[16] = ':';
	put_digits(into + 17, in_day / 1000 % 60, 2);
	into[19] = '.';
	put_digits(into + 20, in_day % 1000, 3);
	into[23] = 'Z';
	into[24] = 0;
}
