/*
 * prescan.c
 *	  One pass over a JSON text before cJSON parses it.
 *
 * Separate from the tree because cJSON is a lenient reader: it takes invalid
 * UTF-8, control characters and overlong numbers, keeps numbers as doubles,
 * ends strings at \u0000 and tells little about what it refuses.  This pass
 * holds the text to RFC 8259, names the fault and its place, and rewrites the
 * few things that cJSON would lose:
 *
 * - a number that is not an integer of at most 15 digits becomes a string of
 *	 its digits behind DBX_JSON_NUMBER_MARK;
 * - \u0000, surrogates without a partner and bytes of a string that are no UTF-8
 *	 become U+FFFD: one broken text must not cost the whole answer.
 *
 * What a projection leaves out is checked like the rest and does not get into what
 * cJSON parses, which costs several times as much as this pass.
 *
 * Invariants: the text is read once and never written; it is copied from the
 * first rewritten place on, so that the usual answer costs no copy; nothing
 * here recurses; no message repeats the content of a string, which may be a
 * secret.
 */
#include "postgres.h"

#include "port/pg_bitutils.h"
#include "utils/memutils.h"

#include "json/json.h"
#include "json/prescan.h"

/* Integers of so many digits are exact in a double. */
#define EXACT_DIGITS 15

/* Numbers beyond these are refused: numeric takes them, but nobody means them. */
#define MAX_DIGITS	 1000
#define MAX_EXPONENT 1000

/* U+FFFD, for what no text can hold. */
#define REPLACEMENT "\xEF\xBF\xBD"

/* Characters of the text that a message shows. */
#define EXCERPT_LENGTH 20

typedef enum Expect
{
	EXPECT_VALUE,
	EXPECT_VALUE_OR_END, /* behind "[" */
	EXPECT_NAME,		 /* behind "," in an object */
	EXPECT_NAME_OR_END,	 /* behind "{" */
	EXPECT_COLON,
	EXPECT_COMMA_OR_END,
	EXPECT_NOTHING /* behind the outermost value */
} Expect;

typedef struct Scan
{
	const char *text;
	const char *pos;
	const char *end;
	const char *copied; /* all before is in "out", if there is one */
	char	   *out;
	Size		out_len;
	Size		out_size;
	bool		marked;
	char	   *error;
	int			max_depth;
	int			depth;
	bool		in_object[DBX_JSON_DEPTH_LIMIT];

	/* of a projection */
	const DbxJsonProjection *projection;
	bool		at_array; /* the value in hand is what its array is named */
	bool		in_array; /* that is an array, and is being scanned */
	bool		odd_name; /* the name in hand is not what stands there */
	const char *kept;	  /* end of the last member kept in a row; NULL: none */
	bool		dropping; /* the member in hand is left out: */
	Size		drop_len; /* what "out_len" was before it ... */
	bool		drop_marked; /* ... and "marked" */
} Scan;

/* A row is an object in an array that is a member of the document. */
#define ARRAY_DEPTH 2
#define ROW_DEPTH	3

struct DbxJsonProjection
{
	const char *array;
	uint64		lengths; /* bit n: one of the names has n bytes, modulo 64 */
	int			nnames;
	int			space;
	struct
	{
		const char *text;
		Size		len;
	} * names;
};

static bool scan_document(Scan *scan);
static bool scan_separator(Scan *scan, Expect *expect);
static bool scan_value(Scan *scan, Expect *expect);
static bool scan_string(Scan *scan);
static bool scan_odd_string(Scan *scan);
static void scan_character(Scan *scan);
static bool scan_escape(Scan *scan);
static bool scan_number(Scan *scan);
static bool scan_literal(Scan *scan, const char *literal);
static bool open_container(Scan *scan, bool object);
static void close_container(Scan *scan, Expect *expect);
static void begin_member(Scan *scan, const char *name);
static void end_member(Scan *scan);
static bool refuse(Scan *scan, const char *at, const char *what);
static bool refuse_byte(Scan *scan, const char *at, const char *what);
static bool refuse_end(Scan *scan, const char *where);
static bool refuse_unexpected(Scan *scan, Expect expect);
static void replace(Scan *scan, const char *from, const char *to,
					const char *with, Size with_len);
static void append_copy(Scan *scan, const char *bytes, Size len);

/* What a string may hold without a closer look. */
static inline bool
is_plain(unsigned char c)
{
	return c >= 0x20 && c < 0x80 && c != '"' && c != '\\';
}

/*
 * The first byte that is not plain, or the end.  Eight at a time: the top bit of
 * each byte of the sum is set if that byte is none, and perhaps if one before
 * it is none; so the first one set is right.
 */
static inline const char *
skip_plain(const char *pos, const char *end)
{
#define EACH(byte) (UINT64CONST(0x0101010101010101) * (byte))
	while (end - pos >= (ptrdiff_t) sizeof(uint64))
	{
		uint64 bytes;
		uint64 quote;
		uint64 backslash;
		uint64 odd;

		memcpy(&bytes, pos, sizeof(bytes));
		quote = bytes ^ EACH('"');
		backslash = bytes ^ EACH('\\');
		odd = (bytes | ((bytes - EACH(0x20)) & ~bytes) |
			   ((quote - EACH(1)) & ~quote) |
			   ((backslash - EACH(1)) & ~backslash)) &
			EACH(0x80);
		if (odd != 0)
		{
#ifndef WORDS_BIGENDIAN
			return pos + pg_rightmost_one_pos64(odd) / BITS_PER_BYTE;
#else
			break;
#endif
		}
		pos += sizeof(bytes);
	}
#undef EACH
	while (pos < end && is_plain(*pos))
		pos++;
	return pos;
}

static inline bool
is_digit(unsigned char c)
{
	return c >= '0' && c <= '9';
}

DbxJsonProjection *
dbx_json_project(const char *array)
{
	DbxJsonProjection *projection = palloc0(sizeof(DbxJsonProjection));

	projection->array = array;
	projection->space = 16;
	projection->names = palloc(projection->space * sizeof(*projection->names));
	return projection;
}

static bool
is_projected(const DbxJsonProjection *projection, const char *name, Size len)
{
	int i;

	if ((projection->lengths & UINT64CONST(1) << len % 64) == 0)
		return false;
	for (i = 0; i < projection->nnames; i++)
	{
		if (projection->names[i].len == len &&
			memcmp(projection->names[i].text, name, len) == 0)
			return true;
	}
	return false;
}

void
dbx_json_project_path(DbxJsonProjection *projection, const char *path)
{
	Size len = strcspn(path, ".");

	if (is_projected(projection, path, len))
		return;
	if (projection->nnames == projection->space)
	{
		projection->space *= 2;
		projection->names = repalloc(projection->names,
									 projection->space *
										 sizeof(*projection->names));
	}
	projection->names[projection->nnames].text = path;
	projection->names[projection->nnames++].len = len;
	projection->lengths |= UINT64CONST(1) << len % 64;
}

bool
dbx_json_prescan(const char *text, Size len, int max_depth,
				 const DbxJsonProjection *projection, DbxJsonChecked *checked)
{
	Scan scan;

	scan.text = text;
	scan.end = text + len;
	scan.out = NULL;
	scan.out_len = scan.out_size = 0;
	scan.marked = false;
	scan.error = NULL;
	scan.max_depth = Min(max_depth, DBX_JSON_DEPTH_LIMIT);
	scan.depth = 0;
	scan.projection = projection;
	scan.at_array = scan.in_array = scan.dropping = false;
	scan.kept = NULL;

	/* A byte order mark says nothing; RFC 8259 allows to pass over it. */
	if (len >= 3 && memcmp(text, "\xEF\xBB\xBF", 3) == 0)
		text += 3;
	scan.pos = scan.copied = text;

	memset(checked, 0, sizeof(*checked));
	if (!scan_document(&scan))
	{
		if (scan.out != NULL)
			pfree(scan.out);
		checked->error = scan.error;
		return false;
	}

	if (scan.out != NULL)
	{
		append_copy(&scan, scan.copied, scan.end - scan.copied);
		checked->copy = scan.out;
		checked->text = scan.out;
		checked->len = scan.out_len;
	}
	else
	{
		checked->text = text;
		checked->len = scan.end - text;
	}
	checked->marked = scan.marked;
	return true;
}

/* The grammar of values, arrays and objects; strings and numbers are below. */
static bool
scan_document(Scan *scan)
{
	Expect expect = EXPECT_VALUE;

	for (;;)
	{
		while (scan->pos < scan->end &&
			   (*scan->pos == ' ' || *scan->pos == '\n' || *scan->pos == '\r' ||
				*scan->pos == '\t'))
			scan->pos++;

		if (scan->pos == scan->end)
		{
			if (expect == EXPECT_NOTHING)
				return true;
			if (expect == EXPECT_VALUE && scan->depth == 0)
				return refuse(scan, NULL, "The text is empty.");
			return refuse_end(scan,
							  scan->in_object[scan->depth - 1] ? "an object"
															   : "an array");
		}

		switch (expect)
		{
			case EXPECT_VALUE:
			case EXPECT_VALUE_OR_END:
				if (*scan->pos == ']' && expect == EXPECT_VALUE_OR_END)
					close_container(scan, &expect);
				else if (!scan_value(scan, &expect))
					return false;
				break;

			case EXPECT_NAME:
			case EXPECT_NAME_OR_END:
				if (*scan->pos == '}' && expect == EXPECT_NAME_OR_END)
					close_container(scan, &expect);
				else if (*scan->pos != '"')
					return refuse_unexpected(scan, expect);
				else
				{
					const char *name = scan->pos;

					scan->odd_name = false;
					if (!scan_string(scan))
						return false;
					if (scan->projection != NULL)
						begin_member(scan, name);
					expect = EXPECT_COLON;
				}
				break;

			case EXPECT_COLON:
			case EXPECT_COMMA_OR_END:
				if (!scan_separator(scan, &expect))
					return false;
				break;

			case EXPECT_NOTHING:
				return refuse_unexpected(scan, expect);
		}
	}
}

static bool
scan_separator(Scan *scan, Expect *expect)
{
	bool object = scan->in_object[scan->depth - 1];

	if (*expect == EXPECT_COLON)
	{
		if (*scan->pos != ':')
			return refuse_unexpected(scan, *expect);
		scan->pos++;
		*expect = EXPECT_VALUE;
		return true;
	}

	if (scan->in_array && scan->depth == ROW_DEPTH && object)
		end_member(scan);
	if (*scan->pos == (object ? '}' : ']'))
		close_container(scan, expect);
	else if (*scan->pos == ',')
	{
		scan->pos++;
		*expect = object ? EXPECT_NAME : EXPECT_VALUE;
	}
	else
		return refuse_unexpected(scan, *expect);
	return true;
}

/* A whole scalar, or the opening of an array or object. */
static bool
scan_value(Scan *scan, Expect *expect)
{
	bool valid;

	switch (*scan->pos)
	{
		case '{':
			*expect = EXPECT_NAME_OR_END;
			return open_container(scan, true);
		case '[':
			*expect = EXPECT_VALUE_OR_END;
			return open_container(scan, false);
		case '"':
			valid = scan_string(scan);
			break;
		case 't':
			valid = scan_literal(scan, "true");
			break;
		case 'f':
			valid = scan_literal(scan, "false");
			break;
		case 'n':
			valid = scan_literal(scan, "null");
			break;
		default:
			if (*scan->pos != '-' && !is_digit(*scan->pos))
				return refuse_unexpected(scan, *expect);
			valid = scan_number(scan);
			break;
	}

	*expect = scan->depth == 0 ? EXPECT_NOTHING : EXPECT_COMMA_OR_END;
	return valid;
}

/* Most strings are plain to their end. */
static bool
scan_string(Scan *scan)
{
	scan->pos = skip_plain(scan->pos + 1, scan->end);
	if (scan->pos < scan->end && *scan->pos == '"')
	{
		scan->pos++;
		return true;
	}
	return scan_odd_string(scan);
}

/* The rest of a string, from something in it that is not plain. */
static pg_noinline bool
scan_odd_string(Scan *scan)
{
	scan->odd_name = true;
	for (;;)
	{
		unsigned char c;

		scan->pos = skip_plain(scan->pos, scan->end);
		if (scan->pos == scan->end)
			return refuse_end(scan, "a string");

		c = *scan->pos;
		if (c == '"')
		{
			scan->pos++;
			return true;
		}
		if (c == '\\')
		{
			if (!scan_escape(scan))
				return false;
			continue;
		}
		if (c < 0x20)
			return refuse_byte(scan, scan->pos,
							   "A string holds a control character");
		scan_character(scan);
	}
}

/*
 * A character beyond ASCII, or bytes that are none: as many as could begin one,
 * at least one, become a single U+FFFD (Unicode 3.9, maximal subparts).
 */
static void
scan_character(Scan *scan)
{
	const unsigned char *start = (const unsigned char *) scan->pos;
	const unsigned char *end = (const unsigned char *) scan->end;
	const unsigned char *p = start + 1;
	unsigned char		 lead = *start;
	unsigned char		 low = 0x80; /* bounds of the second byte */
	unsigned char		 high = 0xBF;
	int					 rest = 0; /* bytes due behind the first */

	if (lead >= 0xC2 && lead < 0xE0)
		rest = 1;
	else if (lead >= 0xE0 && lead < 0xF0)
	{
		rest = 2;
		if (lead == 0xE0)
			low = 0xA0; /* else shorter forms */
		else if (lead == 0xED)
			high = 0x9F; /* else surrogates */
	}
	else if (lead >= 0xF0 && lead < 0xF5)
	{
		rest = 3;
		if (lead == 0xF0)
			low = 0x90; /* else shorter forms */
		else if (lead == 0xF4)
			high = 0x8F; /* else beyond U+10FFFF */
	}

	if (rest > 0 && p < end && *p >= low && *p <= high)
	{
		for (p++; p < end && p - start <= rest && (*p & 0xC0) == 0x80; p++)
			;
	}
	scan->pos = (const char *) p;
	if (rest == 0 || p - start <= rest)
		replace(scan, (const char *) start, scan->pos, REPLACEMENT,
				strlen(REPLACEMENT));
}

static int
hex_value(char c)
{
	if (is_digit(c))
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

/* Four hexadecimal digits; -1 if it is something else. */
static int
hex_unit(const char *digits)
{
	int unit = 0;
	int i;

	for (i = 0; i < 4; i++)
	{
		int value = hex_value(digits[i]);

		if (value < 0)
			return -1;
		unit = unit << 4 | value;
	}
	return unit;
}

static bool
scan_escape(Scan *scan)
{
	const char *start = scan->pos;
	int			unit;

	if (scan->end - start < 2)
		return refuse_end(scan, "a string");
	if (start[1] != 'u')
	{
		if (start[1] == '\0' || strchr("\"\\/bfnrt", start[1]) == NULL)
			return refuse_byte(scan, start + 1,
							   "A string holds an unknown escape");
		scan->pos += 2;
		return true;
	}

	if (scan->end - start < 6)
	{
		/* Cut off only if what is there could still become an escape. */
		const char *digit = start + 2;

		while (digit < scan->end && hex_value(*digit) >= 0)
			digit++;
		if (digit == scan->end)
			return refuse_end(scan, "a string");
		unit = -1;
	}
	else
		unit = hex_unit(start + 2);
	if (unit < 0)
		return refuse(scan, start,
					  "A string holds \\u without four hexadecimal digits");
	scan->pos += 6;

	if (unit >= 0xD800 && unit <= 0xDBFF && scan->end - start >= 12 &&
		start[6] == '\\' && start[7] == 'u')
	{
		int low = hex_unit(start + 8);

		if (low >= 0xDC00 && low <= 0xDFFF)
		{
			scan->pos += 6;
			return true;
		}
	}
	if (unit == 0 || (unit >= 0xD800 && unit <= 0xDFFF))
		replace(scan, start, scan->pos, REPLACEMENT, strlen(REPLACEMENT));
	return true;
}

static bool
scan_number(Scan *scan)
{
	const char *start = scan->pos;
	const char *p = start;
	const char *end = scan->end;
	const char *first;
	Size		digits;
	int			exponent = 0;
	bool		plain = true;
	char		mark = DBX_JSON_NUMBER_MARK;

	if (*p == '-')
		p++;
	for (first = p; p < end && is_digit(*p); p++)
		;
	digits = p - first;
	if (digits == 0)
		goto malformed;
	if (*first == '0' && digits > 1)
		return refuse(scan, start, "A number begins with a superfluous zero");

	if (p < end && *p == '.')
	{
		for (first = ++p; p < end && is_digit(*p); p++)
			;
		if (p == first)
			goto malformed;
		digits += p - first;
		plain = false;
	}

	if (p < end && (*p == 'e' || *p == 'E'))
	{
		if (++p < end && (*p == '+' || *p == '-'))
			p++;
		for (first = p; p < end && is_digit(*p); p++)
		{
			if (exponent <= MAX_EXPONENT)
				exponent = exponent * 10 + (*p - '0');
		}
		if (p == first)
			goto malformed;
		plain = false;
	}

	if (digits > MAX_DIGITS || exponent > MAX_EXPONENT)
		return refuse(scan, start,
					  digits > MAX_DIGITS
						  ? "A number has more than 1000 digits"
						  : "A number has an exponent beyond 1000");

	scan->pos = p;
	/* A double has a negative zero, but it is not to become one. */
	if (!plain || digits > EXACT_DIGITS ||
		(digits == 1 && *start == '-' && start[1] == '0'))
	{
		replace(scan, start, start, "\"", 1);
		append_copy(scan, &mark, 1);
		replace(scan, p, p, "\"", 1);
		scan->marked = true;
	}
	return true;

malformed:
	if (p == end)
	{
		scan->pos = p;
		return refuse_end(scan, "a number");
	}
	return refuse(scan, start, "A number is malformed");
}

static bool
scan_literal(Scan *scan, const char *literal)
{
	Size len = strlen(literal);
	Size rest = scan->end - scan->pos;

	if (memcmp(scan->pos, literal, Min(len, rest)) != 0)
		return refuse_unexpected(scan, EXPECT_VALUE);
	if (rest < len)
	{
		scan->pos = scan->end;
		return refuse_end(scan, "a value");
	}
	scan->pos += len;
	return true;
}

static bool
open_container(Scan *scan, bool object)
{
	if (scan->depth >= scan->max_depth)
	{
		scan->error = psprintf(
			"Arrays and objects are nested deeper than databricks.json_max_depth (%d) at byte offset %zu.",
			scan->max_depth, (Size) (scan->pos - scan->text));
		return false;
	}
	scan->in_object[scan->depth++] = object;
	scan->pos++;
	if (scan->depth == ARRAY_DEPTH && scan->in_object[0])
		scan->in_array = scan->at_array && !object;
	else if (scan->depth == ROW_DEPTH)
		scan->kept = NULL;
	return true;
}

static void
close_container(Scan *scan, Expect *expect)
{
	scan->depth--;
	scan->pos++;
	*expect = scan->depth == 0 ? EXPECT_NOTHING : EXPECT_COMMA_OR_END;
}

/*
 * A name has been scanned: is it that of the array, or of a member to leave out?
 * One that is not plain is kept, it may be any.  Everything before is out then, up
 * to the end of the last member kept, so that the comma goes with what is behind.
 */
static void
begin_member(Scan *scan, const char *name)
{
	Size len = scan->pos - name - 2;

	if (scan->depth == 1)
		scan->at_array = !scan->odd_name &&
			strlen(scan->projection->array) == len &&
			memcmp(scan->projection->array, name + 1, len) == 0;
	if (!scan->in_array || scan->depth != ROW_DEPTH || scan->odd_name ||
		is_projected(scan->projection, name + 1, len))
		return;
	if (scan->kept != NULL)
		name = scan->kept;
	replace(scan, name, name, "", 0);
	scan->dropping = true;
	scan->drop_len = scan->out_len;
	scan->drop_marked = scan->marked;
}

/* Of a row; the scan is at what follows the member. */
static void
end_member(Scan *scan)
{
	if (scan->dropping)
	{
		scan->dropping = false;
		scan->out_len = scan->drop_len;
		scan->marked = scan->drop_marked;
		scan->copied = scan->pos;
		if (scan->kept == NULL)
		{
			/* without anything before it, what comes next needs no comma */
			if (*scan->pos == ',')
				scan->copied++;
			return;
		}
	}
	scan->kept = scan->pos;
}

/* "what", or with a place "what at byte offset ..."; always false. */
static bool
refuse(Scan *scan, const char *at, const char *what)
{
	if (at == NULL)
		scan->error = pstrdup(what);
	else
		scan->error = psprintf("%s at byte offset %zu.", what,
							   (Size) (at - scan->text));
	return false;
}

static bool
refuse_byte(Scan *scan, const char *at, const char *what)
{
	scan->error = psprintf("%s at byte offset %zu (byte 0x%02x).", what,
						   (Size) (at - scan->text), (unsigned char) *at);
	return false;
}

static bool
refuse_end(Scan *scan, const char *where)
{
	scan->error = psprintf("The text ends within %s after %zu bytes.", where,
						   (Size) (scan->end - scan->text));
	return false;
}

/*
 * Something else was due at the current position.  The excerpt helps to see
 * that an answer is a page of HTML, say; it ends at the first quote, so that
 * nothing of a string is shown, and has only characters that every database
 * encoding has.
 */
static bool
refuse_unexpected(Scan *scan, Expect expect)
{
	static const char *const due[] = {
		[EXPECT_VALUE] = "a value",
		[EXPECT_VALUE_OR_END] = "a value or \"]\"",
		[EXPECT_NAME] = "a member name",
		[EXPECT_NAME_OR_END] = "a member name or \"}\"",
		[EXPECT_COLON] = "\":\"",
		[EXPECT_NOTHING] = "the end of the text",
	};
	const char *expected = due[expect];
	char		excerpt[EXCERPT_LENGTH + 1];
	int			len = 0;
	const char *p;

	for (p = scan->pos; p < scan->end && len < EXCERPT_LENGTH; p++)
	{
		excerpt[len++] = (*p >= 0x20 && *p < 0x7F) ? *p : '?';
		if (*p == '"' || *p == '\'')
			break;
	}
	excerpt[len] = '\0';

	if (expect == EXPECT_COMMA_OR_END)
		expected = scan->in_object[scan->depth - 1] ? "\",\" or \"}\""
													: "\",\" or \"]\"";

	scan->error = psprintf("Expected %s at byte offset %zu, found: %s",
						   expected, (Size) (scan->pos - scan->text), excerpt);
	return false;
}

/* Put other bytes in the place of [from, to), which is all behind "copied". */
static void
replace(Scan *scan, const char *from, const char *to, const char *with,
		Size with_len)
{
	append_copy(scan, scan->copied, from - scan->copied);
	append_copy(scan, with, with_len);
	scan->copied = to;
}

static void
append_copy(Scan *scan, const char *bytes, Size len)
{
	if (scan->out_size - scan->out_len < len || scan->out == NULL)
	{
		/*
		 * Room for the rest of the text and some further marks; where there were
		 * many so far, for half as many again, so that what is copied stays in
		 * proportion.
		 */
		Size  rest = scan->end - scan->copied;
		char *grown;

		scan->out_size = scan->out_len + len + rest +
			Max(rest / 4, scan->out_len / 2) + 64;
		grown = MemoryContextAllocHuge(CurrentMemoryContext, scan->out_size);
		if (scan->out != NULL)
		{
			memcpy(grown, scan->out, scan->out_len);
			pfree(scan->out);
		}
		scan->out = grown;
	}
	memcpy(scan->out + scan->out_len, bytes, len);
	scan->out_len += len;
}
