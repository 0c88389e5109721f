/*
 * expect.sql
 *	  What the checks of the demo's parts call, and how they wait.
 */
CREATE FUNCTION pg_temp.expect(ok bool, what text) RETURNS text
LANGUAGE plpgsql AS $body$
BEGIN
	IF ok IS NOT TRUE THEN
		RAISE EXCEPTION 'not as expected: %', what;
	END IF;
	RETURN 'ok';
END
$body$;

-- Wait until a query gives true, looking again and again.
CREATE OR REPLACE PROCEDURE wait_until(query text, patience interval DEFAULT '1 min')
LANGUAGE plpgsql AS $body$
DECLARE
	fulfilled bool;
	deadline timestamptz := clock_timestamp() + patience;
BEGIN
	LOOP
		EXECUTE query INTO fulfilled;
		EXIT WHEN fulfilled;
		IF clock_timestamp() > deadline THEN
			RAISE EXCEPTION 'not true within %: %', patience, query;
		END IF;
		COMMIT;
		PERFORM pg_sleep(0.1);	-- between two looks
	END LOOP;
END
$body$;
