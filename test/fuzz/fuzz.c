/*
 * fuzz.c
 *	  A backend without a server: just enough of one for parts of the extension.
 *
 * Separate because every target needs it.  The targets are linked with all
 * objects of a PostgreSQL built with sanitizers and assertions, except the one
 * with main(), so that memory contexts, errors, numeric and jsonb are the real
 * ones.  There are no catalogs, no shared memory and no transaction; the role is
 * the bootstrap superuser, for which no catalog is asked.
 */
#include "postgres.h"

#include <time.h>

#include "catalog/pg_authid.h"
#include "commands/user.h"
#include "common/pg_prng.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "storage/fd.h"
#include "tcop/tcopprot.h"
#include "utils/guc.h"
#include "utils/memutils.h"

#include "fuzz.h"
#include "guc.h"

/* Of the object file that is left out. */
const char *progname = "fuzz";

extern int LLVMFuzzerInitialize(int *argc, char ***argv);

int
LLVMFuzzerInitialize(int *argc, char ***argv)
{
	MyProcPid = getpid();
	MyStartTime = time(NULL);
	MemoryContextInit();
	(void) set_stack_base();
	InitializeGUCOptions();
	/* frames of instrumented functions are large */
	SetConfigOption("max_stack_depth", "6MB", PGC_SUSET, PGC_S_OVERRIDE);
	SetConfigOption("log_min_messages", "PANIC", PGC_SUSET, PGC_S_OVERRIDE);
	whereToSendOutput = DestNone;
	SetDatabaseEncoding(PG_UTF8);
	SetUserIdAndSecContext(BOOTSTRAP_SUPERUSERID, 0);
	pg_prng_seed(&pg_global_prng_state, 1);
	dbx_guc_define();
	/* within reach of an input */
	SetConfigOption("databricks.max_pages", "40", PGC_SUSET, PGC_S_OVERRIDE);
	return 0;
}

void
fuzz_expect(bool holds, const char *what)
{
	if (holds)
		return;
	fprintf(stderr, "does not hold: %s\n", what);
	abort();
}

void
fuzz_expect_text(const char *text, const char *what)
{
	fuzz_expect(text == NULL ||
					pg_verify_mbstr(PG_UTF8, text, strlen(text), true),
				what);
}

static void
judge(const ErrorData *error)
{
	fuzz_expect(error->message != NULL, "an error has a message");
	fuzz_expect_text(error->message, "the message is valid text");
	fuzz_expect_text(error->detail, "the detail is valid text");
	fuzz_expect_text(error->hint, "the hint is valid text");
	if (error->sqlerrcode == ERRCODE_INTERNAL_ERROR)
		fuzz_expect(false, error->message);
}

int
fuzz_one(const uint8_t *data, size_t size, FuzzBody body)
{
	MemoryContext context = AllocSetContextCreate(TopMemoryContext, "input",
												  ALLOCSET_DEFAULT_SIZES);

	MemoryContextSwitchTo(context);
	PG_TRY();
	{
		char *copy = palloc(size + 1);

		memcpy(copy, data, size);
		copy[size] = '\0';
		body(copy, size);
	}
	PG_CATCH();
	{
		MemoryContextSwitchTo(context);
		judge(CopyErrorData());
		FlushErrorState();
	}
	PG_END_TRY();
	MemoryContextSwitchTo(TopMemoryContext);
	MemoryContextDelete(context);
	return 0;
}
