/* SPDX-License-Identifier: Apache-2.0 */
/* Clocks and RFC 3339. */
#include "base/clock.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <time.h>

#define DAY_MS      86400000
#define WALL_MS_MIN (-62167219200000) /* 0000-01-01T00:00:00.000Z */
#define WALL_MS_MAX 253402300799999   /* 9999-12-31T23:59:59.999Z */

static _Atomic int64_t fake_ms = -1;

static int64_t read_ns(clockid_t id)
{
	struct timespec ts;
	clock_gettime(id, &ts);
	return (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
}

int64_t clock_now_ns(void)
{
	return read_ns(CLOCK_MONOTONIC);
}

int64_t clock_now_ms(void)
{
	int64_t fake = atomic_load(&fake_ms);
	return fake >= 0 ? fake : read_ns(CLOCK_MONOTONIC) / 1000000;
}

int64_t clock_wall_ms(void)
{
	int64_t fake = atomic_load(&fake_ms);
	return fake >= 0 ? fake : read_ns(CLOCK_REALTIME) / 1000000;
}

void clock_fake_set(int64_t now_ms)
{
	atomic_store(&fake_ms, now_ms);
}

/* Civil dates by Howard Hinnant's "chrono-Compatible Low-Level Date Algorithms": a year begins in
 * March, an era has 400 years (146097 days). */
static int64_t days_from_date(int64_t year, int64_t month, int64_t day)
{
	year -= month <= 2;
	int64_t era = (year >= 0 ? year : year - 399) / 400;
	int64_t year_of_era = year - era * 400;
	int64_t day_of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
	int64_t day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
	return era * 146097 + day_of_era - 719468;
}

static void date_from_days(int64_t days, int64_t *ret_year, int64_t *ret_month, int64_t *ret_day)
{
	days += 719468;
	int64_t era = (days >= 0 ? days : days - 146096) / 146097;
	int64_t day_of_era = days - era * 146097;
	int64_t year_of_era =
	        (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365;
	int64_t day_of_year =
	        day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
	int64_t shifted_month = (5 * day_of_year + 2) / 153;
	*ret_day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
	*ret_month = shifted_month < 10 ? shifted_month + 3 : shifted_month - 9;
	*ret_year = year_of_era + era * 400 + (*ret_month <= 2);
}

static char *put_digits(char *p, int64_t value, int count, char after)
{
	for (int i = count - 1; i >= 0; i--, value /= 10)
		p[i] = (char)('0' + value % 10);
	p[count] = after;
	return p + count + 1;
}

void clock_format(int64_t wall_ms, char ret_text[CLOCK_TEXT_SIZE])
{
	int64_t ms = wall_ms < WALL_MS_MIN   ? WALL_MS_MIN
	             : wall_ms > WALL_MS_MAX ? WALL_MS_MAX
	                                     : wall_ms;
	int64_t days = (ms >= 0 ? ms : ms - (DAY_MS - 1)) / DAY_MS;
	int64_t rest = ms - days * DAY_MS;
	int64_t year, month, day;
	date_from_days(days, &year, &month, &day);
	char *p = put_digits(ret_text, year, 4, '-');
	p = put_digits(p, month, 2, '-');
	p = put_digits(p, day, 2, 'T');
	p = put_digits(p, rest / 3600000, 2, ':');
	p = put_digits(p, rest / 60000 % 60, 2, ':');
	p = put_digits(p, rest / 1000 % 60, 2, '.');
	p = put_digits(p, rest % 1000, 3, 'Z');
	*p = '\0';
}

/* Reads exactly `count` digits within bounds; -1 otherwise. */
static int64_t read_digits(const char **text, int count, int64_t min, int64_t max)
{
	int64_t value = 0;
	for (int i = 0; i < count; i++) {
		char c = **text;
		if (c < '0' || c > '9')
			return -1;
		value = value * 10 + (c - '0');
		(*text)++;
	}
	return value < min || value > max ? -1 : value;
}

static bool read_char(const char **text, char wanted)
{
	bool lower_case = wanted >= 'A' && **text == wanted + ('a' - 'A');
	if (**text != wanted && !lower_case)
		return false;
	(*text)++;
	return true;
}

static int64_t days_in_month(int64_t year, int64_t month)
{
	static const int64_t days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
	bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
	return month == 2 && leap ? 29 : days[month - 1];
}

static int parse_date(const char **text, int64_t *ret_days)
{
	int64_t year = read_digits(text, 4, 0, 9999);
	if (year < 0 || !read_char(text, '-'))
		return -1;
	int64_t month = read_digits(text, 2, 1, 12);
	if (month < 0 || !read_char(text, '-'))
		return -1;
	int64_t day = read_digits(text, 2, 1, days_in_month(year, month));
	*ret_days = days_from_date(year, month, day);
	return day < 0 ? -1 : 0;
}

/* Second 60 is a leap second and counts as the next one. */
static int parse_time(const char **text, int64_t *ret_ms)
{
	int64_t hours = read_digits(text, 2, 0, 23);
	if (hours < 0 || !read_char(text, ':'))
		return -1;
	int64_t minutes = read_digits(text, 2, 0, 59);
	if (minutes < 0 || !read_char(text, ':'))
		return -1;
	int64_t seconds = read_digits(text, 2, 0, 60);
	*ret_ms = ((hours * 60 + minutes) * 60 + seconds) * 1000;
	return seconds < 0 ? -1 : 0;
}

/* Digits beyond milliseconds are dropped. */
static int parse_fraction(const char **text, int64_t *ms)
{
	if (**text != '.')
		return 0;
	(*text)++;
	if (**text < '0' || **text > '9')
		return -1;
	for (int64_t scale = 100; **text >= '0' && **text <= '9'; (*text)++, scale /= 10)
		*ms += (**text - '0') * scale;
	return 0;
}

static int parse_zone(const char **text, int64_t *ret_offset_ms)
{
	*ret_offset_ms = 0;
	if (read_char(text, 'Z'))
		return 0;
	char sign = **text;
	if (sign != '+' && sign != '-')
		return -1;
	(*text)++;
	int64_t hours = read_digits(text, 2, 0, 23);
	if (hours < 0 || !read_char(text, ':'))
		return -1;
	int64_t minutes = read_digits(text, 2, 0, 59);
	int64_t offset = (hours * 60 + minutes) * 60000;
	*ret_offset_ms = sign == '-' ? -offset : offset;
	return minutes < 0 ? -1 : 0;
}

int clock_parse(const char *text, int64_t *ret_wall_ms)
{
	int64_t days, ms, offset_ms;
	if (parse_date(&text, &days) != 0 || !read_char(&text, 'T') ||
	        parse_time(&text, &ms) != 0 || parse_fraction(&text, &ms) != 0 ||
	        parse_zone(&text, &offset_ms) != 0 || *text != '\0')
		return -1;
	*ret_wall_ms = days * DAY_MS + ms - offset_ms;
	return 0;
}
