
/*
 * 80_api_functions.sql
 *	  What there is: every function, the calls it makes, what it needs.
 *
 * Read from the comments and the catalog, so that there is one place where this
 * is said.
 */

CREATE VIEW databricks.api_functions WITH (security_invoker = true) AS
SELECT p.oid::pg_catalog.regprocedure AS function,
	   CASE p.prokind WHEN 'p' THEN 'procedure' ELSE 'function' END AS kind,
	   c.calls AS rest_calls,
	   COALESCE('workspace' OPERATOR(pg_catalog.=) ANY (p.proargnames[1:p.pronargs]), false) AS takes_workspace,
	   EXISTS (SELECT FROM pg_catalog.unnest(c.calls) AS u(call)
			   WHERE u.call OPERATOR(pg_catalog.!~) '^(GET|HEAD) ') AS changes_something,
	   pg_catalog.array_remove(ARRAY[
		   CASE WHEN pg_catalog.cardinality(c.calls) OPERATOR(pg_catalog.>) 0
				THEN 'USAGE on the server and a user mapping' END,
		   CASE WHEN NOT COALESCE(pg_catalog.has_function_privilege('public'::pg_catalog.name, p.oid, 'EXECUTE'), false)
				THEN 'EXECUTE, which is not granted to all' END,
		   CASE WHEN d.description OPERATOR(pg_catalog.~) 'by the worker'
				THEN 'databricks in shared_preload_libraries, for the worker' END,
		   CASE WHEN d.description OPERATOR(pg_catalog.~) 'pg_cron'
				THEN 'pg_cron' END], NULL) AS needs,
	   d.description
FROM pg_catalog.pg_proc AS p
JOIN pg_catalog.pg_depend AS m
	 ON m.classid OPERATOR(pg_catalog.=) 'pg_catalog.pg_proc'::pg_catalog.regclass
	 AND m.objid OPERATOR(pg_catalog.=) p.oid
	 AND m.refclassid OPERATOR(pg_catalog.=) 'pg_catalog.pg_extension'::pg_catalog.regclass
	 AND m.deptype OPERATOR(pg_catalog.=) 'e'
JOIN pg_catalog.pg_extension AS e
	 ON e.oid OPERATOR(pg_catalog.=) m.refobjid
	 AND e.extname OPERATOR(pg_catalog.=) 'databricks'
LEFT JOIN pg_catalog.pg_description AS d
	 ON d.classoid OPERATOR(pg_catalog.=) m.classid
	 AND d.objoid OPERATOR(pg_catalog.=) p.oid
	 AND d.objsubid OPERATOR(pg_catalog.=) 0
CROSS JOIN LATERAL (
	SELECT ARRAY(SELECT DISTINCT pg_catalog.rtrim(r.match[1], '.,;:)')
				 FROM pg_catalog.regexp_matches(
						  d.description, '((?:GET|HEAD|POST|PUT|PATCH|DELETE) /api/[^\s,;]+)', 'g') AS r(match)
				 ORDER BY 1)) AS c(calls);

COMMENT ON VIEW databricks.api_functions IS
'Every function and procedure of the extension, with the REST calls it makes (none: it works here only), whether it takes a workspace, whether any of its calls changes something (then a read-only transaction refuses it), what it needs, and its description.';
COMMENT ON COLUMN databricks.api_functions.function IS 'The function with the types of its arguments.';
COMMENT ON COLUMN databricks.api_functions.kind IS 'function or procedure.';
COMMENT ON COLUMN databricks.api_functions.rest_calls IS 'Method and path of each call it may make; {...} stands for an argument.';
COMMENT ON COLUMN databricks.api_functions.takes_workspace IS 'Is there an argument that names the workspace?';
COMMENT ON COLUMN databricks.api_functions.changes_something IS 'Does it make calls that change something?';
COMMENT ON COLUMN databricks.api_functions.needs IS 'What must be there for it to work.';
COMMENT ON COLUMN databricks.api_functions.description IS 'The comment on the function.';

GRANT SELECT ON databricks.api_functions TO PUBLIC;
