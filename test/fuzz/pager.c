/*
 * pager.c
 *	  Fuzz target: lists and objects that come in pages, of any content.
 *
 * The first byte chooses what is asked for, the records of fuzz.h answer.
 * However many answers there are, the walk comes to an end.
 */
#include "postgres.h"

#include "api/internal.h"
#include "fuzz.h"

extern int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
walk_list(const DbxWorkspace *workspace, int choice)
{
	DbxCallStats   stats = {0};
	DbxPageSpec	   spec = {.path = "/api/2.2/jobs/runs/list",
						   .items = "runs",
						   .query = (choice & 2) ? "limit=25" : NULL,
						   .stats = &stats,
						   .post = (choice & 4) != 0,
						   .missing_is_empty = (choice & 8) != 0,
						   .tell_expired = (choice & 16) != 0,
						   .keep_pages = (choice & 32) != 0};
	DbxPager	  *pager = dbx_pager_open(workspace, &spec);
	const DbxJson *rows;
	int64		   pages = 0;

	while (dbx_pager_next(pager, &rows))
	{
		const DbxJson *row;

		pages++;
		for (row = dbx_json_first(rows); row != NULL; row = dbx_json_next(row))
			fuzz_expect_text(dbx_json_string(dbx_json_get(row, "run_name")),
							 "a name is valid text");
	}
	fuzz_expect(dbx_pager_at_end(pager), "the end is told");
	fuzz_expect(stats.pages == pages, "the pages are counted");
	fuzz_expect(!dbx_pager_next(pager, &rows), "it stays at the end");
	dbx_pager_close(pager);
}

static void
read_object(const DbxWorkspace *workspace)
{
	DbxCallSpec	   spec = {.method = "GET",
						   .path = "/api/2.2/jobs/runs/get",
						   .query = "run_id=1"};
	DbxGet		  *get = dbx_get_start(workspace, &spec);
	const DbxJson *object;

	while (!dbx_get_done(get))
		(void) dbx_calls_progress(0);
	if (get->error != NULL)
	{
		fuzz_expect_text(get->error->message, "the message is valid text");
		dbx_get_raise(get);
	}
	object = get->object;
	fuzz_expect(dbx_json_get(object, "next_page_token") == NULL,
				"a whole object has no next page");
	fuzz_expect_text(dbx_json_serialize(object), "the text is valid");
	(void) dbx_json_to_jsonb(object);
}

static void
run(char *data, Size size)
{
	DbxWorkspace *workspace = fuzz_workspace();
	int			  choice;

	if (size < 1)
		return;
	choice = (unsigned char) *data;
	fuzz_answers(data + 1, size - 1);
	if (choice & 1)
		walk_list(workspace, choice);
	else
		read_object(workspace);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	return fuzz_one(data, size, run);
}
