/*
 * sdk.js: the vendor's JavaScript client with pg.
 *
 *     sdk.js history | last COUNT | trigger COUNT AT_ONCE | run_now COUNT
 *
 * As script.py beside it: prints the milliseconds the work took.
 */
"use strict";

const {WorkspaceClient} = require("@databricks/sdk-experimental");
const {Client} = require("pg");

const w = new WorkspaceClient({host: process.env.WORKSPACE_URL, token: process.env.WORKSPACE_TOKEN, authType: "pat"});
const job = Number(process.env.WORKSPACE_JOB || 0);

async function store(db, runs) {
	const columns = [[], [], [], [], [], [], []];
	for (const run of runs)
		[run.run_id, run.job_id, run.run_name, run.status && run.status.state, run.state && run.state.result_state,
			run.start_time, run.end_time].forEach((value, i) => columns[i].push(value === undefined ? null : value));
	await db.query(`INSERT INTO peer_runs SELECT a, b, c, d, e, to_timestamp(f / 1000.0), to_timestamp(g / 1000.0)
		FROM unnest($1::bigint[], $2::bigint[], $3::text[], $4::text[], $5::text[], $6::bigint[], $7::bigint[]) AS t(a, b, c, d, e, f, g)`, columns);
}

const runNow = (n) => w.jobs.runNow({job_id: job, idempotency_token: `sdk ${process.pid} ${Date.now()} ${n}`});

async function main([task, ...rest]) {
	const [count, atOnce] = rest.map(Number);
	const db = new Client();
	await db.connect();
	const begun = process.hrtime.bigint();
	if (task === "history") {
		let runs = [];
		for await (const run of w.jobs.listRuns({limit: 25})) {
			if (runs.push(run) === 25) {
				await store(db, runs);
				runs = [];
			}
		}
		await store(db, runs);
	} else if (task === "last") {
		const runs = [];
		for await (const run of w.jobs.listRuns({limit: count})) {
			if (runs.push(run) === count) break;
		}
		await store(db, runs);
	} else if (task === "trigger") {
		let next = 0;
		await Promise.all(Array.from({length: atOnce}, async () => {
			while (next < count) await runNow(next++);
		}));
	} else if (task === "run_now") {
		for (let n = 0; n < count; n++) await runNow(n);
	}
	console.log(Number(process.hrtime.bigint() - begun) / 1e6);
	await db.end();
}

main(process.argv.slice(2)).catch((e) => {
	console.error(e);
	process.exit(1);
});
