# Makefile - build, install and test the databricks extension (PGXS)
#
#   all, install      build and install for the PostgreSQL of PG_CONFIG
#   installcheck      pg_regress and isolation specs against a running server
#                     (PG* variables) in which the extension is installed; needs
#                     no workspace
#   test              set-up, build, format check and every test, in a private
#                     copy: TESTS="test/t/010_x.pl ..." chooses, KEEP=1 keeps it
#   prove-exactly-once
#                     the long form of test/t/075_exactly_once.pl: 10 000
#                     requests, 500 kills (DBX_PROVE_REQUESTS, DBX_PROVE_KILLS)
#   test-report       test/t/066_report.pl with a browser (Debian package chromium,
#                     installed if missing); DBX_PICTURES=folder keeps pictures
#   dist              databricks-<version>.zip for PGXN, in dist/
#   deb               package of Debian, in dist/
#   test-deb          that package in a Debian that has nothing, then what the
#                     README says about installing (needs root)
#   prove-history     the long form of test/t/065_worker_truth.pl: the lives of
#                     5 000 runs (DBX_PROVE_RUNS)
#   demo              the whole story against a stand-in workspace; KEEP=1
#                     leaves it running
#   bench             benchmarks: WORKLOADS="..." chooses, JSON=file, BENCH_LONG=1
#   lint              clang-tidy and cppcheck; FILES="src/..." chooses
#   fuzz              libFuzzer, FUZZ_SECONDS=60 for each of FUZZ_TARGETS
#   sanitize          every test on a server with sanitizers and assertions
#   valgrind          pg_regress under valgrind; TESTS as for test
#   test-versions     build and test against the PostgreSQL of newer Debian
#                     releases (test/versions): VERSIONS="17 18", TESTS as above
#   test-clients      the vendor's own client against the stand-in workspace
#   format            rewrite the C files in the project's style
#   format-check      fail if "make format" would change something
#   clean             remove what was built
#
# test, demo and bench must work where neither PostgreSQL nor a compiler is
# installed yet, so nothing of PGXS is touched when pg_config is missing.
#
# Variables of our own begin with dbx_: PGXS sets hundreds of others, and one of
# its names in a rule below (INSTALL_SCRIPT is a command there) would make us
# write over a program of the machine.

PG_CONFIG ?= pg_config
CLANG_FORMAT ?= $(firstword $(shell command -v clang-format-14 clang-format) clang-format)

# Two levels are all the source tree has: src/ and one folder per area.
dbx_sources := $(sort $(wildcard src/*.c src/*/*.c))
dbx_format_files := $(sort $(dbx_sources) $(wildcard src/*.h src/*/*.h) \
	$(wildcard test/fuzz/*.[ch]))

# The order of the install script is the order of its pieces' names.
dbx_sql_pieces := $(sort $(wildcard src/sql/*.sql))

EXTENSION = databricks
EXTVERSION := $(shell sed -n "s/^default_version *= *'\(.*\)'.*/\1/p" databricks.control)
dbx_sql_script = $(EXTENSION)--$(EXTVERSION).sql

MODULE_big = $(EXTENSION)
OBJS = $(dbx_sources:.c=.o)
dbx_deps = $(dbx_sources:.c=.d)

DATA = $(wildcard $(EXTENSION)--*--*.sql)
DATA_built = $(dbx_sql_script)

# The test database has the extension; what checks CREATE EXTENSION itself
# drops it first or is a TAP test.
REGRESS = $(patsubst sql/%.sql,%,$(sort $(wildcard sql/*.sql)))
REGRESS_OPTS = --load-extension=$(EXTENSION)

# The specs for isolationtester, with what is expected in test/expected.
ISOLATION = $(patsubst test/specs/%.spec,%,$(sort $(wildcard test/specs/*.spec)))
ISOLATION_OPTS = --inputdir=$(srcdir)/test --load-extension=$(EXTENSION)

EXTRA_CLEAN = $(dbx_deps) $(wildcard $(EXTENSION)--*.sql.tmp) \
	results regression.diffs regression.out tmp_check log output_iso dist

PG_CPPFLAGS = -I$(srcdir)/src -DDBX_VERSION='"$(EXTVERSION)"'

# -Wextra beyond what PostgreSQL itself compiles with:
#   unused-parameter        every callback type of the server has some
#   sign-compare            macros of the server's headers compare int with Size
#   missing-field-initializers
#                           static tables leave the tail of a struct zero
# PostgreSQL was configured for one compiler and hands its flags to all; what
# the other one does not know (gnu_printf among the attributes) must not stop
# the build.
PG_CFLAGS = -Wall -Wextra -Werror -Wvla -Wno-unused-parameter \
	-Wno-sign-compare -Wno-missing-field-initializers $(dbx_clang_flags) \
	-MMD -MP
dbx_clang_flags = $(if $(findstring clang,$(shell $(CC) --version 2>/dev/null)),\
	-Wno-unknown-warning-option -Wno-ignored-optimization-argument \
	-Wno-ignored-attributes)

SHLIB_LINK = -lcurl -lcjson -lz

# No bitcode: nothing here is worth inlining into a query, and it would need a
# second compiler.
override with_llvm = no

all:

dbx_pg_config := $(shell command -v $(PG_CONFIG) 2>/dev/null)
ifneq ($(dbx_pg_config),)
PGXS := $(shell $(PG_CONFIG) --pgxs)
include $(PGXS)
else
.PHONY: all install installcheck clean
all install installcheck:
	@echo "$(PG_CONFIG) not found: run test/setup, or give PG_CONFIG=/path/to/pg_config" >&2; exit 1
clean:
	rm -rf $(OBJS) $(EXTRA_CLEAN) $(dbx_sql_script) $(MODULE_big).so
endif

-include $(dbx_deps)

# A new version or new flags rebuild everything.
$(OBJS): Makefile databricks.control

# Moved into place at the end, so that an interrupted build leaves no half of it.
$(dbx_sql_script): $(dbx_sql_pieces) Makefile databricks.control
	cat $(dbx_sql_pieces) > $@.tmp
	mv $@.tmp $@

.PHONY: lint fuzz sanitize valgrind \
	test test-versions prove-exactly-once prove-history test-report dist deb test-deb \
	demo bench test-clients format format-check

test:
	@TESTS="$(TESTS)" KEEP="$(KEEP)" test/run

prove-exactly-once:
	@DBX_PROVE_REQUESTS=$${DBX_PROVE_REQUESTS:-10000} \
		DBX_PROVE_KILLS=$${DBX_PROVE_KILLS:-500} PG_TEST_TIMEOUT_DEFAULT=900 \
		TESTS=test/t/075_exactly_once.pl KEEP="$(KEEP)" test/run

test-report:
	@test/setup chromium fonts-dejavu-core fonts-noto-color-emoji
	@DBX_BROWSER=$$(command -v chromium || echo chromium) TESTS=test/t/066_report.pl \
		KEEP="$(KEEP)" test/run

dbx_dist ?= dist

dist:
	@src/packaging/build dist $(EXTVERSION) $(dbx_dist)

deb:
	@test/setup debhelper postgresql-server-dev-all git
	@src/packaging/build deb $(EXTVERSION) $(dbx_dist)

test-deb:
	@test/deb/run

prove-history:
	@DBX_PROVE_RUNS=$${DBX_PROVE_RUNS:-5000} PG_TEST_TIMEOUT_DEFAULT=900 \
		TESTS=test/t/065_worker_truth.pl KEEP="$(KEEP)" test/run

demo:
	@KEEP="$(KEEP)" test/demo/run

bench:
	@WORKLOADS="$(WORKLOADS)" JSON="$(JSON)" test/bench/run

lint:
	@FILES="$(FILES)" test/lint/run

fuzz:
	@FUZZ_SECONDS="$(FUZZ_SECONDS)" FUZZ_TARGETS="$(FUZZ_TARGETS)" test/fuzz/run

sanitize valgrind:
	@TESTS="$(TESTS)" KEEP="$(KEEP)" test/$@/run

test-versions:
	@TESTS="$(TESTS)" VERSIONS="$(VERSIONS)" test/versions

test-clients:
	@test/clients/run

format:
	$(CLANG_FORMAT) -i --style=file $(dbx_format_files)

format-check:
	$(CLANG_FORMAT) --dry-run -Werror --style=file $(dbx_format_files)
