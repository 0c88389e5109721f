-- curl.sql - the hand-made way: COPY FROM PROGRAM 'curl', as pg_cron would run it.
-- The wait for pg_cron's next minute is left out.  :token and :url are put in by
-- psql.

CREATE TABLE IF NOT EXISTS curl_answer (line text);

CREATE OR REPLACE FUNCTION curl(method text, url text, token text, body text DEFAULT NULL) RETURNS jsonb LANGUAGE plpgsql AS $$
BEGIN
	TRUNCATE curl_answer;
	EXECUTE format($copy$COPY curl_answer FROM PROGRAM %L WITH (FORMAT csv, DELIMITER e'\x01', QUOTE e'\x02')$copy$,
		format('curl -sS -X %s -H %L %s %L', method, 'Authorization: Bearer ' || token,
			CASE WHEN body IS NULL THEN '' ELSE format('-d %L', body) END, url));
	RETURN (SELECT string_agg(line, '')::jsonb FROM curl_answer);
END $$;

CREATE OR REPLACE PROCEDURE curl_history(url text, token text, most int DEFAULT NULL) LANGUAGE plpgsql AS $$
DECLARE
	page jsonb;
	next text := '';
BEGIN
	LOOP
		page := curl('GET', url || '/api/2.2/jobs/runs/list?limit=' || coalesce(most, 25) || next, token);
		INSERT INTO peer_runs SELECT (r ->> 'run_id')::bigint, (r ->> 'job_id')::bigint, r ->> 'run_name', r #>> '{status,state}', r #>> '{state,result_state}',
				to_timestamp((r ->> 'start_time')::bigint / 1000.0), to_timestamp((r ->> 'end_time')::bigint / 1000.0)
			FROM jsonb_array_elements(page -> 'runs') AS r;
		COMMIT;
		EXIT WHEN most IS NOT NULL OR coalesce(page ->> 'next_page_token', '') = '';
		next := '&page_token=' || (page ->> 'next_page_token');
	END LOOP;
END $$;
