# house.sh - a private place to build and run in, for test/run and the demo.
#
# Sourced by bash. PostgreSQL refuses to run as root and a checkout may be out of
# reach for anybody else, so everything happens in a copy of the tree, below one
# temporary folder, as a user without rights. What was started there is stopped
# and the folder removed when the script ends, however it ends.
#
#   house_begin NAME    makes the folder; sets the variables below
#   house_run CMD...    runs a command as house_user in house_tree; an interrupt
#                       stops it and everything it started
#   house_as CMD...     the same for short commands: no group of its own
#
#   house_work          the temporary folder (KEEP=1: not removed)
#   house_tree          copy of the tree, without what was built in the original
#   house_user          whom commands run as
#   house_python        a Python that user can run
#   house_pg_config     pg_config of the machine's PostgreSQL
#   house_on_end        name of a function to call before cleaning up, or empty

house_top=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
house_work=
house_child=
house_on_end=

house_begin() {
	# Neither a make that called us nor a server the caller talks to is meant.
	unset MAKEFLAGS MFLAGS MAKELEVEL MAKEOVERRIDES
	unset PGHOST PGHOSTADDR PGPORT PGDATABASE PGUSER PGPASSWORD PGSERVICE \
		PGOPTIONS PGDATA PGSSLMODE PGAPPNAME PGCLIENTENCODING PGTZ
	unset http_proxy https_proxy all_proxy HTTP_PROXY HTTPS_PROXY ALL_PROXY
	export LC_ALL=C.UTF-8

	# Short, because the path of a Unix socket below it has 107 characters.
	house_work=/tmp/dbx-$1.$$.$RANDOM
	mkdir -m 755 "$house_work" || exit 1
	trap house_end EXIT
	trap 'exit 130' INT
	trap 'exit 143' TERM
	trap 'exit 129' HUP

	house_user=$(id -un)
	house_prefix=()
	if [ "$(id -u)" -eq 0 ]; then
		house_user=postgres
		id "$house_user" >/dev/null 2>&1 || house_user=nobody
		house_prefix=(setpriv "--reuid=$house_user"
			"--regid=$(id -g "$house_user")" --init-groups --)
	fi

	house_pg_config=${PG_CONFIG:-/usr/lib/postgresql/${DBX_PG_MAJOR:-15}/bin/pg_config}
	[ -x "$house_pg_config" ] || house_pg_config=$(command -v pg_config) || {
		echo "pg_config not found; run test/setup first" >&2
		exit 1
	}

	house_tree=$house_work/tree
	mkdir "$house_tree" "$house_work/tmp" "$house_work/home" "$house_work/logs"
	tar -C "$house_top" -cf - --exclude=./.git --exclude='*.o' --exclude='*.d' \
		--exclude='*.so' --exclude='./databricks--*.sql' --exclude=./results \
		--exclude=./tmp_check --exclude=node_modules --exclude=__pycache__ . |
		tar -C "$house_tree" -xf - --no-same-owner
	# The pattern above also took the upgrade scripts.
	cp "$house_top"/databricks--*--*.sql "$house_tree/" 2>/dev/null || true
	chmod -R u+rwX,go+rX "$house_tree"
	[ "$(id -u)" -ne 0 ] || chown -R "$house_user" "$house_work"
	cd "$house_work" || exit 1

	local candidate
	house_python=
	for candidate in "$(command -v python3)" /usr/bin/python3; do
		if house_as "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 9))' \
			2>/dev/null; then
			house_python=$candidate
			break
		fi
	done
	[ -n "$house_python" ] || {
		echo "no python3 (3.9 or later) that user $house_user can run" >&2
		exit 1
	}
}

house_as() {
	(cd "$house_tree" && exec "${house_prefix[@]}" env HOME="$house_work/home" \
		USER="$house_user" LOGNAME="$house_user" TMPDIR="$house_work/tmp" \
		PYTHONDONTWRITEBYTECODE=1 "$@")
}

# In a process group of its own, waited for by a builtin: so a signal is acted on
# at once and reaches the whole group, not only the part that still listens.
house_run() {
	local rc=0
	set -m
	house_as "$@" </dev/null &
	house_child=$!
	set +m
	wait "$house_child" || rc=$?
	house_child=
	return $rc
}

# Servers are in sessions of their own; the pid file of each data directory
# below the folder names them.
house_stop_servers() {
	local file pid
	while IFS= read -r file; do
		pid=$(head -n 1 "$file" 2>/dev/null) || continue
		[ "$(readlink "/proc/$pid/cwd")" = "$(dirname "$file")" ] || continue
		kill -QUIT "$pid" 2>/dev/null || continue
		timeout 10 tail --pid="$pid" -s 0.1 -f /dev/null ||
			kill -KILL "$pid" 2>/dev/null
	done < <(find "$house_work" -name postmaster.pid 2>/dev/null)
}

house_end() {
	local rc=$?
	trap - EXIT
	trap '' INT TERM HUP
	if [ -n "$house_child" ]; then
		kill -TERM -- "-$house_child" 2>/dev/null
		wait "$house_child" 2>/dev/null
	fi
	[ -z "$house_on_end" ] || "$house_on_end" "$rc"
	house_stop_servers
	if [ -n "${KEEP:-}" ]; then
		echo "kept: $house_work"
	else
		cd /
		rm -rf "$house_work"
	fi
	exit "$rc"
}
