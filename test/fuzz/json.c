/*
 * json.c
 *	  Fuzz target: reading JSON, converting it, joining pages of it.
 *
 * What can be read must convert to jsonb as PostgreSQL's own reader understands
 * our text of it, and that text must read back as itself.
 */
#include "postgres.h"

#include "fmgr.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"

#include "fuzz.h"
#include "json/json.h"

extern int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char *const names[] = {"tasks", "id", "a", "settings"};

/* All readers, on every node. */
static void
visit(const DbxJson *node)
{
	const DbxJson *child;
	int64		   number;
	bool		   flag;
	int			   length = 0;
	int			   i;

	fuzz_expect_text(dbx_json_name(node), "a name is valid text");
	fuzz_expect_text(dbx_json_string(node), "a string is valid text");
	fuzz_expect_text(dbx_json_text(node), "its text is valid");
	(void) dbx_json_int64(node, &number);
	(void) dbx_json_bool(node, &flag);
	for (i = 0; i < (int) lengthof(names); i++)
		(void) dbx_json_get(node, names[i]);
	(void) dbx_json_path(node, "settings.tasks.a");
	for (child = dbx_json_first(node); child; child = dbx_json_next(child))
	{
		length++;
		visit(child);
	}
	fuzz_expect(length == dbx_json_length(node),
				"the length is that of the list");
}

static void
compare(const DbxJson *node)
{
	char  *text = dbx_json_serialize(node);
	Jsonb *ours = dbx_json_to_jsonb(node);
	Jsonb *theirs = DatumGetJsonbP(
		DirectFunctionCall1(jsonb_in, CStringGetDatum(text)));
	DbxJson *again;
	char	*why;

	fuzz_expect_text(text, "the text is valid");
	fuzz_expect(compareJsonbContainers(&ours->root, &theirs->root) == 0,
				"jsonb is what the text says");
	again = dbx_json_try_parse(text, strlen(text), &why);
	fuzz_expect(again != NULL, "our text can be read");
	fuzz_expect(strcmp(dbx_json_serialize(again), text) == 0,
				"our text reads back as itself");
}

/* A part of a document is the document, but for what is not of the part. */
static void
compare_part(const char *text, Size size, DbxJson *whole)
{
	DbxJsonProjection *projection = dbx_json_project("tasks");
	DbxJson			  *part;
	const DbxJson	  *row;
	const DbxJson	  *member;
	const DbxJson	  *rest;
	char			  *why;

	dbx_json_project_path(projection, "id");
	dbx_json_project_path(projection, "a.b");
	part = dbx_json_try_parse_part(text, size, projection, &why);
	fuzz_expect(part != NULL, "what can be read can be read in part");
	visit(part);
	row = dbx_json_first(dbx_json_get(part, "tasks"));
	for (rest = dbx_json_first(dbx_json_get(whole, "tasks")); rest != NULL;
		 rest = dbx_json_next(rest))
	{
		fuzz_expect(row != NULL, "every row is there");
		for (member = dbx_json_first(rest);
			 dbx_json_type(rest) == DBX_JSON_OBJECT && member != NULL;
			 member = dbx_json_next(member))
		{
			const char	  *name = dbx_json_name(member);
			const DbxJson *same = dbx_json_get(row, name);

			if (strcmp(name, "id") == 0 || strcmp(name, "a") == 0)
				fuzz_expect(strcmp(dbx_json_serialize(dbx_json_get(rest, name)),
								   dbx_json_serialize(same)) == 0,
							"a member of the part is what it was");
		}
		if (dbx_json_type(rest) != DBX_JSON_OBJECT)
			fuzz_expect(strcmp(dbx_json_serialize(rest),
							   dbx_json_serialize(row)) == 0,
						"what is no object is what it was");
		row = dbx_json_next(row);
	}
	fuzz_expect(row == NULL, "and no more");
}

/* Two documents, divided by a NUL, are two pages of one. */
static void
run(char *data, Size size)
{
	const char *second = memchr(data, '\0', size);
	Size		first_size = second ? (Size) (second - data) : size;
	DbxJson	   *one;
	DbxJson	   *two;
	char	   *why;
	int			i;

	one = dbx_json_try_parse(data, first_size, &why);
	fuzz_expect_text(why, "the reason is valid text");
	fuzz_expect((one == NULL) == (why != NULL), "a refusal has a reason");
	if (one == NULL)
		return;
	visit(one);
	compare(one);
	compare_part(data, first_size, one);
	if (second == NULL)
		return;
	two = dbx_json_parse(second + 1, size - first_size - 1, "page");
	for (i = 0; i < (int) lengthof(names); i++)
	{
		dbx_json_append(one, two, names[i]);
		dbx_json_remove(two, names[i]);
	}
	visit(two);
	visit(one);
	compare(one);
	dbx_json_remove(one, "id");
	compare(one);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	return fuzz_one(data, size, run);
}
