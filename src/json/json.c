/*
 * json.c
 *	  Documents of the REST API: parse, read, convert, merge.
 *
 * Separate because it is the only user of cJSON; a DbxJson is a cJSON node
 * that nobody else can look into.  What cJSON would lose or let pass is dealt
 * with before, in prescan.c.
 *
 * A tree consists of palloc'd pieces of the context it was parsed in and dies
 * with that; cJSON_Delete is never called, so parts may move from one tree to
 * another.  In a parsed tree
 *
 * - a node of type cJSON_Number is an integer of at most 15 digits, which a
 *	 double holds exactly; any other number has type cJSON_Raw and its digits
 *	 in valuestring;
 * - strings are valid in the encoding of the database;
 * - arrays and objects are nested at most DBX_JSON_DEPTH_LIMIT deep.
 */
#include "postgres.h"

#include <cjson/cJSON.h>

#include "lib/stringinfo.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/json.h"
#include "utils/jsonb.h"
#include "utils/memutils.h"
#include "utils/numeric.h"

#include "guc.h"
#include "json/encoding.h"
#include "json/json.h"
#include "json/prescan.h"

/* A jsonb entry has 28 bits for its length (JENTRY_OFFLENMASK). */
#define MAX_JSONB_STRING JENTRY_OFFLENMASK

/* Objects of so many members are sorted before they become jsonb. */
#define SORTED_MEMBERS 32

typedef struct Member
{
	const cJSON *node;
	Size		 len; /* of its name */
} Member;

/* Set when an allocation for cJSON failed, to tell that from a refusal. */
static bool parse_out_of_memory;

/* The block that the tree being read is cut from: its rest, the size of the next. */
#define PARSE_FIRST_BLOCK 1024
#define PARSE_LAST_BLOCK  (64 * 1024)
static char *parse_next;
static Size	 parse_left;
static Size	 parse_block;

static cJSON	   *parse_tree(const DbxJsonChecked *checked, Size *refused_at);
static void		   *parse_alloc(size_t size);
static void			parse_free(void *chunk);
static void			finish_tree(cJSON *root, bool marked);
static void			finish_node(cJSON *node, bool convert);
static const cJSON *find_member(const cJSON *object, const char **name,
								char stop);
static bool parse_int64(const char *digits, bool allow_fraction, int64 *value);
static void unlink_child(cJSON *parent, cJSON *child);
static JsonbValue *push_container(JsonbParseState **state, const cJSON *node);
static void		   fill_scalar(JsonbValue *value, const cJSON *node);
static void		   fill_string(JsonbValue *value, char *string);
static void		   append_json(StringInfo buf, const cJSON *node);

static inline int
node_type(const cJSON *node)
{
	return node == NULL ? cJSON_Invalid : node->type & 0xFF;
}

static inline bool
is_container(const cJSON *node)
{
	return (node_type(node) & (cJSON_Array | cJSON_Object)) != 0;
}

/* Parsing */

DbxJson *
dbx_json_parse(const char *text, Size len, const char *what)
{
	char	*error;
	DbxJson *node = dbx_json_try_parse(text, len, &error);

	if (node == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_FDW_UNABLE_TO_CREATE_REPLY),
				 errmsg("could not read %s as JSON", what),
				 errdetail_internal("%s", error)));
	return node;
}

DbxJson *
dbx_json_from_jsonb(Jsonb *value, const char *what)
{
	return dbx_json_from_text(JsonbToCString(NULL, &value->root, VARSIZE(value)),
							  what);
}

DbxJson *
dbx_json_from_text(const char *text, const char *what)
{
	const char *utf8 = dbx_json_to_utf8(text);

	if (GetDatabaseEncoding() == PG_SQL_ASCII)
		(void) pg_verify_mbstr(PG_UTF8, utf8, strlen(utf8), false);
	return dbx_json_parse(utf8, strlen(utf8), what);
}

DbxJson *
dbx_json_try_parse(const char *text, Size len, char **error)
{
	return dbx_json_try_parse_part(text, len, NULL, error);
}

DbxJson *
dbx_json_try_parse_part(const char *text, Size len,
						const DbxJsonProjection *projection, char **error)
{
	DbxJsonChecked checked;
	cJSON		  *root;
	Size		   refused_at;

	*error = NULL;

	/* cJSON recurses without asking. */
	check_stack_depth();

	if (!dbx_json_prescan(text, len, dbx_guc_json_max_depth, projection,
						  &checked))
	{
		*error = checked.error;
		return NULL;
	}

	root = parse_tree(&checked, &refused_at);
	if (checked.copy != NULL)
		pfree(checked.copy);
	if (root == NULL)
	{
		if (parse_out_of_memory)
			ereport(ERROR,
					(errcode(ERRCODE_OUT_OF_MEMORY), errmsg("out of memory"),
					 errdetail("Failed while reading JSON of %zu bytes.", len)));
		*error = psprintf("The text is not understood near byte offset %zu.",
						  refused_at);
		return NULL;
	}

	finish_tree(root, checked.marked);
	return (DbxJson *) root;
}

/*
 * Run cJSON with its memory in the current context.  Another extension of the
 * process may use the same library, so the hooks are back to malloc and free
 * before anything can be raised.
 */
static cJSON *
parse_tree(const DbxJsonChecked *checked, Size *refused_at)
{
	cJSON_Hooks hooks = {parse_alloc, parse_free};
	const char *end = checked->text;
	cJSON	   *root;

	parse_out_of_memory = false;
	parse_left = 0;
	parse_block = PARSE_FIRST_BLOCK;
	cJSON_InitHooks(&hooks);
	root = cJSON_ParseWithLengthOpts(checked->text, checked->len, &end, 0);
	cJSON_InitHooks(NULL);

	*refused_at = end - checked->text;
	return root;
}

/* Memory of the current context, NULL when there is none: must not raise. */
static void *
parse_reserve(Size size)
{
	void *chunk = NULL;

	if (AllocHugeSizeIsValid(size))
		chunk = MemoryContextAllocExtended(CurrentMemoryContext, size,
										   MCXT_ALLOC_NO_OOM | MCXT_ALLOC_HUGE);
	if (chunk == NULL)
		parse_out_of_memory = true;
	return chunk;
}

/*
 * malloc for cJSON.  Nothing of a tree is freed alone, so that its many small
 * parts are cut from blocks, one behind the other.
 */
static void *
parse_alloc(size_t size)
{
	char *chunk;

	if (size > PARSE_LAST_BLOCK / 4)
		return parse_reserve(size);
	size = MAXALIGN(size);
	if (size > parse_left)
	{
		Size block = Max(parse_block, size);

		parse_next = parse_reserve(block);
		if (parse_next == NULL)
		{
			parse_left = 0;
			return NULL;
		}
		parse_left = block;
		parse_block = Min(parse_block * 2, PARSE_LAST_BLOCK);
	}
	chunk = parse_next;
	parse_next += size;
	parse_left -= size;
	return chunk;
}

/* free for cJSON, of what it has begun when it gives up: goes with the context */
static void
parse_free(void *chunk)
{
}

/*
 * Turn marked strings into numbers and strings into the encoding of the
 * database.  Goes through all nodes in order; the stack holds the containers
 * that the current node is in.
 */
static void
finish_tree(cJSON *root, bool marked)
{
	bool   convert = dbx_json_needs_conversion();
	cJSON *stack[DBX_JSON_DEPTH_LIMIT];
	int	   depth = 0;
	cJSON *node = root;

	if (!marked && !convert)
		return;

	while (node != NULL)
	{
		finish_node(node, convert);

		if (is_container(node) && node->child != NULL)
		{
			Assert(depth < DBX_JSON_DEPTH_LIMIT);
			stack[depth++] = node;
			node = node->child;
			continue;
		}
		while (node->next == NULL && depth > 0)
			node = stack[--depth];
		node = node->next;
	}
}

static void
finish_node(cJSON *node, bool convert)
{
	if (convert && node->string != NULL)
		node->string = dbx_json_to_server(node->string);
	if (node_type(node) != cJSON_String)
		return;
	if (node->valuestring[0] == DBX_JSON_NUMBER_MARK)
	{
		node->type = cJSON_Raw;
		node->valuestring++;
	}
	else if (convert)
		node->valuestring = dbx_json_to_server(node->valuestring);
}

/* Reading */

DbxJsonType
dbx_json_type(const DbxJson *node)
{
	switch (node_type((const cJSON *) node))
	{
		case cJSON_NULL:
			return DBX_JSON_NULL;
		case cJSON_False:
		case cJSON_True:
			return DBX_JSON_BOOL;
		case cJSON_Number:
		case cJSON_Raw:
			return DBX_JSON_NUMBER;
		case cJSON_String:
			return DBX_JSON_STRING;
		case cJSON_Array:
			return DBX_JSON_ARRAY;
		case cJSON_Object:
			return DBX_JSON_OBJECT;
		default:
			return DBX_JSON_ABSENT;
	}
}

const DbxJson *
dbx_json_get(const DbxJson *node, const char *name)
{
	return (const DbxJson *) find_member((const cJSON *) node, &name, '\0');
}

const DbxJson *
dbx_json_path(const DbxJson *node, const char *path)
{
	const cJSON *found = find_member((const cJSON *) node, &path, '.');

	while (found != NULL && *path != '\0')
	{
		path++;
		found = find_member(found, &path, '.');
	}
	return (const DbxJson *) found;
}

/*
 * Is this the name up to the stop?  Then "name" goes on there.  Most differ in
 * one of the first characters: no call for those.
 */
static inline bool
is_named(const cJSON *member, const char **name, char stop)
{
	const char *have = member->string;
	const char *wanted = *name;

	for (; *wanted != '\0' && *wanted != stop; wanted++)
	{
		if (*have++ != *wanted)
			return false;
	}
	if (*have != '\0')
		return false;
	*name = wanted;
	return true;
}

/*
 * The last one of a doubled name wins, so the members are looked at from behind.
 * The first one's "prev" is the last one.
 */
static const cJSON *
find_member(const cJSON *object, const char **name, char stop)
{
	const cJSON *member;

	if (node_type(object) != cJSON_Object || object->child == NULL)
		return NULL;
	for (member = object->child->prev;; member = member->prev)
	{
		if (is_named(member, name, stop))
			return member;
		if (member == object->child)
			return NULL;
	}
}

int
dbx_json_length(const DbxJson *node)
{
	const cJSON *child;
	int			 length = 0;

	if (!is_container((const cJSON *) node))
		return 0;
	for (child = ((const cJSON *) node)->child; child; child = child->next)
		length++;
	return length;
}

const DbxJson *
dbx_json_first(const DbxJson *node)
{
	if (!is_container((const cJSON *) node))
		return NULL;
	return (const DbxJson *) ((const cJSON *) node)->child;
}

const DbxJson *
dbx_json_next(const DbxJson *node)
{
	if (node == NULL)
		return NULL;
	return (const DbxJson *) ((const cJSON *) node)->next;
}

const DbxJson *
dbx_json_find(const DbxJson *array, const char *member, const char *text)
{
	const DbxJson *element;

	for (element = dbx_json_first(array); element != NULL;
		 element = dbx_json_next(element))
	{
		const char *value = dbx_json_string(dbx_json_get(element, member));

		if (value != NULL && strcmp(value, text) == 0)
			break;
	}
	return element;
}

const char *
dbx_json_name(const DbxJson *node)
{
	return node == NULL ? NULL : ((const cJSON *) node)->string;
}

const char *
dbx_json_string(const DbxJson *node)
{
	if (node_type((const cJSON *) node) != cJSON_String)
		return NULL;
	return ((const cJSON *) node)->valuestring;
}

bool
dbx_json_int64(const DbxJson *node, int64 *value)
{
	const cJSON *item = (const cJSON *) node;

	switch (node_type(item))
	{
		case cJSON_Number:
			*value = (int64) item->valuedouble;
			return true;
		case cJSON_Raw:
		case cJSON_String:
			return parse_int64(item->valuestring, true, value);
		default:
			return false;
	}
}

/*
 * Digits without superfluous zeros, in front of them at most a minus.  Behind
 * them a fraction and an exponent, if allowed and if what comes out is whole: to
 * JSON 5, 5.0 and 5e0 are one number, and which is sent is up to the writer.
 */
static bool
parse_int64(const char *digits, bool allow_fraction, int64 *value)
{
	bool		negative = *digits == '-';
	const char *whole = digits + (negative ? 1 : 0);
	int			whole_len = (int) strspn(whole, "0123456789");
	const char *end = whole + whole_len;
	const char *fraction = end;
	int			fraction_len = 0;
	int			wanted = whole_len; /* how many digits are before the point */
	uint64		limit = negative ? (uint64) PG_INT64_MAX + 1 : PG_INT64_MAX;
	uint64		sum = 0;
	int			i;

	if (whole_len == 0 || (whole_len > 1 && *whole == '0'))
		return false;
	if (allow_fraction && *end == '.')
	{
		fraction = end + 1;
		fraction_len = (int) strspn(fraction, "0123456789");
		end = fraction + fraction_len;
	}
	if (allow_fraction && (*end == 'e' || *end == 'E'))
	{
		const char *digit = end + 1 + (end[1] == '-' || end[1] == '+' ? 1 : 0);
		int			length = (int) strspn(digit, "0123456789");

		/* a number has no more, see prescan.c, but a string may */
		if (length == 0 || length > 4)
			return false;
		wanted += (int) strtol(end + 1, NULL, 10);
		end = digit + length;
	}
	if (*end != '\0')
		return false;

	for (i = 0; i < Max(wanted, whole_len + fraction_len); i++)
	{
		uint64 digit = 0;

		if (i < whole_len)
			digit = whole[i] - '0';
		else if (i < whole_len + fraction_len)
			digit = fraction[i - whole_len] - '0';
		if (i < wanted ? sum > (limit - digit) / 10 : digit != 0)
			return false;
		if (i < wanted)
			sum = sum * 10 + digit;
	}

	*value = negative ? (int64) (0 - sum) : (int64) sum;
	return true;
}

bool
dbx_json_bool(const DbxJson *node, bool *value)
{
	int type = node_type((const cJSON *) node);

	if (type != cJSON_True && type != cJSON_False)
		return false;
	*value = type == cJSON_True;
	return true;
}

const char *
dbx_json_text(const DbxJson *node)
{
	const cJSON *item = (const cJSON *) node;

	switch (node_type(item))
	{
		case cJSON_Invalid:
		case cJSON_NULL:
			return NULL;
		case cJSON_String:
		case cJSON_Raw:
			return item->valuestring;
		default:
			return dbx_json_serialize(node);
	}
}

/* Changing */

void
dbx_json_append(DbxJson *base, const DbxJson *more, const char *name)
{
	cJSON *source = (cJSON *) more;
	cJSON *from = (cJSON *) dbx_json_get(more, name);
	cJSON *target = (cJSON *) base;
	cJSON *to;
	cJSON *last;

	if (node_type(from) != cJSON_Array || node_type(target) != cJSON_Object ||
		source == target)
		return;

	to = (cJSON *) dbx_json_get(base, name);
	if (node_type(to) != cJSON_Array)
	{
		/* Nothing to append to: the member moves as it is. */
		dbx_json_remove(base, name);
		unlink_child(source, from);
		to = target;
	}
	else
	{
		cJSON *elements = from->child;

		from->child = NULL;
		from = elements;
		if (from == NULL)
			return;
	}

	/* In a list of cJSON the first one's "prev" is the last one. */
	last = from->prev;
	if (to->child == NULL)
		to->child = from;
	else
	{
		from->prev = to->child->prev;
		from->prev->next = from;
		to->child->prev = last;
	}
}

/* In one pass: of doubled names there may be as many as fit into an answer. */
void
dbx_json_remove(DbxJson *node, const char *name)
{
	cJSON *object = (cJSON *) node;
	cJSON *member;
	cJSON *next;

	if (node_type(object) != cJSON_Object)
		return;
	for (member = object->child; member != NULL; member = next)
	{
		next = member->next;
		if (strcmp(member->string, name) == 0)
			unlink_child(object, member);
	}
}

/* The child becomes a list of itself; its memory stays with the context. */
static void
unlink_child(cJSON *parent, cJSON *child)
{
	if (parent->child == child)
		parent->child = child->next;
	else
		child->prev->next = child->next;

	if (child->next != NULL)
		child->next->prev = child->prev;
	else if (parent->child != NULL)
		parent->child->prev = child->prev;

	child->next = NULL;
	child->prev = child;
}

/* Conversion */

Jsonb *
dbx_json_to_jsonb(const DbxJson *node)
{
	const cJSON		*item = (const cJSON *) node;
	JsonbParseState *state = NULL;
	JsonbValue		 scalar;

	if (is_container(item))
		return JsonbValueToJsonb(push_container(&state, item));

	if (item == NULL)
		scalar.type = jbvNull;
	else
		fill_scalar(&scalar, item);
	return JsonbValueToJsonb(&scalar);
}

/*
 * The members of an object in the order of jsonb: shorter names first, equal
 * ones as they came.  So the sort of the server, whose comparisons are calls,
 * finds them in order.  Returns how many there are, 0 if too many.
 */
static int
sort_members(const cJSON *object, Member *members)
{
	const cJSON *child;
	int			 count = 0;

	for (child = object->child; child != NULL; child = child->next)
	{
		Size len = strlen(child->string);
		int	 i;

		if (count == SORTED_MEMBERS)
			return 0;
		for (i = count++; i > 0 &&
			 (members[i - 1].len > len ||
			  (members[i - 1].len == len &&
			   memcmp(members[i - 1].node->string, child->string, len) > 0));
			 i--)
			members[i] = members[i - 1];
		members[i].node = child;
		members[i].len = len;
	}
	return count;
}

/* Raises if the stack gets too deep.  Returns the finished value. */
static JsonbValue *
push_container(JsonbParseState **state, const cJSON *node)
{
	bool		 object = node_type(node) == cJSON_Object;
	Member		 members[SORTED_MEMBERS];
	int			 sorted = object ? sort_members(node, members) : 0;
	int			 next = 1;
	const cJSON *child;

	check_stack_depth();
	CHECK_FOR_INTERRUPTS();

	pushJsonbValue(state, object ? WJB_BEGIN_OBJECT : WJB_BEGIN_ARRAY, NULL);
	child = sorted > 0 ? members[0].node : node->child;
	while (child != NULL)
	{
		JsonbValue value;

		if (object)
		{
			fill_string(&value, child->string);
			pushJsonbValue(state, WJB_KEY, &value);
		}
		if (is_container(child))
			push_container(state, child);
		else
		{
			fill_scalar(&value, child);
			pushJsonbValue(state, object ? WJB_VALUE : WJB_ELEM, &value);
		}
		if (sorted == 0)
			child = child->next;
		else
			child = next < sorted ? members[next++].node : NULL;
	}
	return pushJsonbValue(state, object ? WJB_END_OBJECT : WJB_END_ARRAY, NULL);
}

static void
fill_scalar(JsonbValue *value, const cJSON *node)
{
	int64 integer;

	switch (node_type(node))
	{
		case cJSON_True:
		case cJSON_False:
			value->type = jbvBool;
			value->val.boolean = node_type(node) == cJSON_True;
			break;
		case cJSON_Number:
			value->type = jbvNumeric;
			value->val.numeric = int64_to_numeric((int64) node->valuedouble);
			break;
		case cJSON_Raw:
			value->type = jbvNumeric;
			if (parse_int64(node->valuestring, false, &integer))
				value->val.numeric = int64_to_numeric(integer);
			else
				value->val.numeric = DatumGetNumeric(DirectFunctionCall3(
					numeric_in, CStringGetDatum(node->valuestring),
					ObjectIdGetDatum(InvalidOid), Int32GetDatum(-1)));
			break;
		case cJSON_String:
			fill_string(value, node->valuestring);
			break;
		default:
			value->type = jbvNull;
			break;
	}
}

static void
fill_string(JsonbValue *value, char *string)
{
	Size len = strlen(string);

	if (len > MAX_JSONB_STRING)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("a string of %zu bytes is too long for jsonb", len),
				 errdetail("Strings in jsonb have at most %d bytes.",
						   MAX_JSONB_STRING)));
	value->type = jbvString;
	value->val.string.val = string;
	value->val.string.len = (int) len;
}

char *
dbx_json_serialize(const DbxJson *node)
{
	StringInfoData buf;

	initStringInfo(&buf);
	append_json(&buf, (const cJSON *) node);
	return buf.data;
}

static void
append_json(StringInfo buf, const cJSON *node)
{
	bool		 object = node_type(node) == cJSON_Object;
	const cJSON *child;

	switch (node_type(node))
	{
		case cJSON_True:
			appendStringInfoString(buf, "true");
			return;
		case cJSON_False:
			appendStringInfoString(buf, "false");
			return;
		case cJSON_Number:
			appendStringInfo(buf, INT64_FORMAT, (int64) node->valuedouble);
			return;
		case cJSON_Raw:
			appendStringInfoString(buf, node->valuestring);
			return;
		case cJSON_String:
			escape_json(buf, node->valuestring);
			return;
		case cJSON_Array:
		case cJSON_Object:
			break;
		default:
			appendStringInfoString(buf, "null");
			return;
	}

	check_stack_depth();
	CHECK_FOR_INTERRUPTS();

	appendStringInfoChar(buf, object ? '{' : '[');
	for (child = node->child; child != NULL; child = child->next)
	{
		if (child != node->child)
			appendStringInfoChar(buf, ',');
		if (object)
		{
			escape_json(buf, child->string);
			appendStringInfoChar(buf, ':');
		}
		append_json(buf, child);
	}
	appendStringInfoChar(buf, object ? '}' : ']');
}
