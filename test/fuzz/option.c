/*
 * option.c
 *	  Fuzz target: options of servers, user mappings, tables and columns.
 *
 * Lines "name=value"; the first byte chooses the catalog.  What the validator
 * lets pass must be usable, and a host that was normalised stays as it is.
 */
#include "postgres.h"

#include "catalog/pg_attribute.h"
#include "catalog/pg_foreign_data_wrapper.h"
#include "catalog/pg_foreign_server.h"
#include "catalog/pg_foreign_table.h"
#include "catalog/pg_type.h"
#include "catalog/pg_user_mapping.h"
#include "fmgr.h"
#include "mb/pg_wchar.h"
#include "nodes/makefuncs.h"
#include "utils/array.h"
#include "utils/builtins.h"

#include "fuzz.h"
#include "workspace/option.h"

extern Datum databricks_fdw_validator(PG_FUNCTION_ARGS);
extern int	 LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const Oid catalogs[] = {ForeignServerRelationId, UserMappingRelationId,
							   ForeignTableRelationId, AttributeRelationId,
							   ForeignDataWrapperRelationId};

static void
check_workspace(DbxWorkspace *workspace)
{
	fuzz_expect(workspace->max_parallel >= 1 && workspace->max_parallel <= 256,
				"max_parallel is within its bounds");
	fuzz_expect(workspace->connect_timeout >= 1 &&
					workspace->retry_timeout >= 0 &&
					workspace->request_timeout >= 1,
				"times are within their bounds");
	fuzz_expect(workspace->max_response_size >= 1024, "so is the size");
	fuzz_expect(workspace->rate_limit >= 0, "and the rate");
	if (workspace->host != NULL)
	{
		char *again = dbx_workspace_normalize_host(workspace->host, NULL);

		fuzz_expect(strcmp(again, workspace->host) == 0,
					"a normalised host stays as it is");
		fuzz_expect(strpbrk(workspace->host, " @\\?#\r\n") == NULL,
					"a host cannot be read in two ways");
		(void) dbx_workspace_is_loopback(workspace->host);
		(void) dbx_workspace_may_visit(workspace, workspace->host);
	}
	if (workspace->token != NULL)
		fuzz_expect(strpbrk(workspace->token, " \r\n") == NULL,
					"a token is one word");
	dbx_option_redact(workspace);
	fuzz_expect(strcmp(dbx_option_digest(workspace),
					   dbx_option_digest(dbx_option_copy(workspace))) == 0,
				"a copy has the same credentials");
}

static void
run(char *data, Size size)
{
	DbxWorkspace *workspace = palloc0(sizeof(DbxWorkspace));
	List		 *list = NIL;
	Datum		 *texts;
	int			  count = 0;
	Oid			  catalog;
	char		 *line;
	char		 *next;

	/* the server hands on nothing else */
	if (size < 1 || !pg_verify_mbstr(PG_UTF8, data + 1, size - 1, true))
		return;
	catalog = catalogs[(unsigned char) *data % lengthof(catalogs)];
	texts = palloc(sizeof(Datum) * (size + 1));
	for (line = data + 1; line != NULL; line = next)
	{
		char *value;

		next = strchr(line, '\n');
		if (next != NULL)
			*next++ = '\0';
		value = strchr(line, '=');
		if (value == NULL || value == line)
			continue;
		texts[count++] = CStringGetTextDatum(line);
		list = lappend(list,
					   makeDefElem(pnstrdup(line, value - line),
								   (Node *) makeString(pstrdup(value + 1)), -1));
	}
	DirectFunctionCall2(databricks_fdw_validator,
						PointerGetDatum(construct_array(texts, count, TEXTOID,
														-1, false, TYPALIGN_INT)),
						ObjectIdGetDatum(catalog));
	workspace->name = pstrdup("fuzz");
	dbx_option_defaults(workspace);
	dbx_option_apply(workspace, list, catalog);
	check_workspace(workspace);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	return fuzz_one(data, size, run);
}
