/*
 * expect.sql
 *	  What the checks of the demo's parts call.
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
