/*
 * parse.c
 *	  From the text of a cron expression to sets of minutes, hours and days.
 *
 * Separate from the evaluation because nothing here knows of time.  pg_cron
 * only says that an expression is invalid; here the error names the field, the
 * place and what is wrong.
 */
#include "postgres.h"

#include <ctype.h>

#include "mb/pg_wchar.h"

#include "compat.h"
#include "cron/cron.h"

#define MONTH_DAYS_MAX 31

typedef struct Field
{
	const char *name;
	int			low;
	int			high;
	const char *names; /* three letters each, the first one is "low" */
} Field;

static const Field fields[] = {
	{"minute", 0, 59, NULL},
	{"hour", 0, 23, NULL},
	{"day of month", 1, MONTH_DAYS_MAX, NULL},
	{"month", 1, 12, "janfebmaraprmayjunjulaugsepoctnovdec"},
	{"day of week", 0, 7, "sunmontuewedthufrisat"},
};

#define FIELD_DAYS	   2
#define FIELD_WEEKDAYS 4

/* The words; what pg_cron does at them is the same. */
static const struct
{
	const char *word;
	const char *meaning;
} words[] = {
	{"annually", "0 0 1 1 *"}, {"daily", "0 0 * * *"},
	{"hourly", "0 * * * *"},   {"midnight", "0 0 * * *"},
	{"monthly", "0 0 1 * *"},  {"weekly", "0 0 * * 0"},
	{"yearly", "0 0 1 1 *"},
};

typedef struct Parser
{
	const char *text; /* as given, for the message */
	const char *at;
	int			field;
} Parser;

static void	  refuse_seconds(const Parser *parser);
static void	  parse_word(const Parser *parser, const char **meaning);
static uint64 parse_field(Parser *parser);
static uint64 parse_part(Parser *parser);
static int	  parse_value(Parser *parser);
static int	  parse_number(Parser *parser);
static void	  skip_blanks(Parser *parser);
static void	  check_possible(const Parser *parser, const DbxCron *cron);
static pg_noreturn void fail(const Parser *parser, const char *problem);

DbxCron *
dbx_cron_parse(const char *text)
{
	DbxCron	   *cron = palloc0(sizeof(DbxCron));
	Parser		parser = {text, text, 0};
	uint64		sets[lengthof(fields)];
	const char *begin[lengthof(fields)];
	const char *end[lengthof(fields)];
	const char *meaning = NULL;
	Parser		word;

	skip_blanks(&parser);
	refuse_seconds(&parser);
	word = parser;
	if (*parser.at == '@')
	{
		parse_word(&parser, &meaning);
		parser.at = meaning;
	}
	for (int i = 0; i < lengthof(fields); i++)
	{
		parser.field = i;
		skip_blanks(&parser);
		begin[i] = parser.at;
		sets[i] = parse_field(&parser);
		end[i] = parser.at;
		if (i == FIELD_DAYS && *begin[i] == '$')
			cron->last_day = true;
	}
	skip_blanks(&parser);
	if (*parser.at != '\0')
	{
		parser.field = -1;
		fail(&parser, "there is text behind the five fields");
	}
	if (meaning != NULL)
		parser = word;

	cron->minutes = sets[0];
	cron->hours = (uint32) sets[1];
	cron->days = (uint32) sets[2];
	cron->months = (uint16) sets[3];
	/* Sunday is 0 and 7 */
	cron->weekdays = (uint8) ((sets[4] | sets[4] >> 7) & 0x7f);
	cron->days_star = *begin[FIELD_DAYS] == '*';
	cron->weekdays_star = *begin[FIELD_WEEKDAYS] == '*';
	cron->days_text = pnstrdup(begin[FIELD_DAYS],
							   end[FIELD_DAYS] - begin[FIELD_DAYS]);
	cron->weekdays_text = pnstrdup(begin[FIELD_WEEKDAYS],
								   end[FIELD_WEEKDAYS] - begin[FIELD_WEEKDAYS]);
	check_possible(&parser, cron);
	return cron;
}

/* "30 seconds", which pg_cron takes from 1.5 on. */
static void
refuse_seconds(const Parser *parser)
{
	Parser here = *parser;
	Size   digits = strspn(here.at, "0123456789");

	here.at += digits;
	skip_blanks(&here);
	if (digits == 0 || pg_strncasecmp(here.at, "second", 6) != 0)
		return;
	here.field = -1;
	fail(&here, "a schedule ticks in whole minutes, not every few seconds");
}

/* parser->at is at "@". */
static void
parse_word(const Parser *parser, const char **meaning)
{
	const char *word = parser->at + 1;
	int			length = (int) strcspn(word, " \t");
	Parser		here = *parser;

	here.field = -1;
	if (word[length + strspn(word + length, " \t")] != '\0')
		fail(&here, "there is text behind the word");
	for (int i = 0; i < lengthof(words); i++)
	{
		if (strlen(words[i].word) == length &&
			strncmp(words[i].word, word, length) == 0)
		{
			*meaning = words[i].meaning;
			return;
		}
	}
	if ((length == 6 && strncmp(word, "reboot", 6) == 0) ||
		(length == 7 && strncmp(word, "restart", 7) == 0))
		fail(&here, "the start of the server is no time of a clock");
	fail(&here,
		 "the words are @yearly, @annually, @monthly, @weekly, @daily, @midnight and @hourly");
}

/* A list of parts, up to a blank or the end. */
static uint64
parse_field(Parser *parser)
{
	uint64 set = 0;

	if (*parser->at == '\0')
		fail(parser, "the field is missing");
	if (*parser->at == '$' && parser->field == FIELD_DAYS)
	{
		parser->at++;
		if (*parser->at != ' ' && *parser->at != '\t')
			fail(parser, "\"$\" stands alone");
		return 0;
	}
	for (;;)
	{
		set |= parse_part(parser);
		if (*parser->at != ',')
			break;
		parser->at++;
	}
	if (*parser->at != ' ' && *parser->at != '\t' && *parser->at != '\0')
		fail(parser,
			 psprintf("unexpected \"%.*s\"", pg_mblen(parser->at), parser->at));
	return set;
}

/* "*", "5" or "1-5", the first and the last also with a step. */
static uint64
parse_part(Parser *parser)
{
	const Field *field = &fields[parser->field];
	const char	*begin = parser->at;
	int			 first = field->low;
	int			 last = field->high;
	int			 step = 1;
	bool		 range = true;
	uint64		 set = 0;

	if (*parser->at == '*')
		parser->at++;
	else
	{
		first = last = parse_value(parser);
		range = *parser->at == '-';
		if (range)
		{
			parser->at++;
			last = parse_value(parser);
		}
	}
	if (last < first)
	{
		parser->at = begin;
		fail(parser,
			 psprintf("the range %d-%d ends before it begins%s", first, last,
					  parser->field == FIELD_WEEKDAYS
						  ? " (Sunday is 0, and 7 at the end of a range)"
						  : ""));
	}
	if (*parser->at == '/')
	{
		const char *slash = parser->at;

		parser->at++;
		if (!range)
		{
			parser->at = slash;
			fail(parser, "a step needs \"*\" or a range before it");
		}
		step = parse_number(parser);
		if (step < 1 || step > field->high)
		{
			parser->at = slash + 1;
			fail(parser,
				 psprintf("the step must be between 1 and %d", field->high));
		}
	}
	for (int i = first; i <= last; i += step)
		/* NOLINTNEXTLINE(clang-analyzer-core.*): fields begin at 0 or 1 */
		set |= UINT64CONST(1) << i;
	return set;
}

/* A number in the field's range, or a name. */
static int
parse_value(Parser *parser)
{
	const Field *field = &fields[parser->field];
	const char	*begin = parser->at;
	int			 value;

	if (field->names != NULL && isalpha((unsigned char) *begin))
	{
		int length = 0;

		while (isalnum((unsigned char) begin[length]))
			length++;
		for (int i = 0; length == 3 && field->names[3 * i] != '\0'; i++)
		{
			if (pg_strncasecmp(begin, &field->names[3 * i], 3) == 0)
			{
				parser->at += 3;
				return i + field->low;
			}
		}
		fail(parser,
			 psprintf("\"%.*s\" is no %s (names have three letters)", length,
					  begin,
					  parser->field == FIELD_WEEKDAYS ? "day of the week"
													  : "month"));
	}
	value = parse_number(parser);
	if (value < field->low || value > field->high)
	{
		int length = (int) (parser->at - begin);

		parser->at = begin;
		fail(parser,
			 psprintf("%.*s is not between %d and %d", length, begin,
					  field->low, field->high));
	}
	return value;
}

/* What is too large to be anything stays so. */
static int
parse_number(Parser *parser)
{
	int value = 0;

	if (!isdigit((unsigned char) *parser->at))
		fail(parser,
			 *parser->at == '\0' || *parser->at == ' ' || *parser->at == '\t'
				 ? "a number is missing"
				 : psprintf("a number is expected instead of \"%.*s\"",
							pg_mblen(parser->at), parser->at));
	while (isdigit((unsigned char) *parser->at))
	{
		if (value < 10000)
			value = value * 10 + (*parser->at - '0');
		parser->at++;
	}
	return value;
}

static void
skip_blanks(Parser *parser)
{
	while (*parser->at == ' ' || *parser->at == '\t')
		parser->at++;
}

/* 30 February: no month that has the day. */
static void
check_possible(const Parser *parser, const DbxCron *cron)
{
	static const int longest[] = {0,  31, 29, 31, 30, 31, 30,
								  31, 31, 30, 31, 30, 31};
	Parser			 here = *parser;

	if (cron->last_day)
		return;
	/* any day of the week is enough */
	if (!cron->days_star && !cron->weekdays_star)
		return;
	for (int month = 1; month <= 12; month++)
	{
		for (int day = 1; day <= longest[month]; day++)
			if ((cron->months & (1 << month)) != 0 &&
				(cron->days & (UINT32_C(1) << day)) != 0)
				return;
	}
	here.field = -1;
	here.at = here.text;
	fail(&here, "none of its months has any of its days");
}

static pg_noreturn void
fail(const Parser *parser, const char *problem)
{
	int place = (int) pg_mbstrlen_with_len(parser->text,
										   (int) (parser->at - parser->text)) +
		1;

	if (parser->field < 0)
		ereport(
			ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("invalid cron expression \"%s\"", parser->text),
			 errdetail("At character %d: %s.", place, problem),
			 errhint(
				 "Five fields: minute, hour, day of month, month, day of week, as in 30 2 * * mon-fri; or @hourly, @daily, @weekly, @monthly, @yearly.")));
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("invalid cron expression \"%s\"", parser->text),
			 errdetail("At character %d, in field %d (%s): %s.", place,
					   parser->field + 1, fields[parser->field].name, problem)));
}
