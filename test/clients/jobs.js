/*
 * jobs.js: the Jobs calls of the vendor's JavaScript client against the
 * stand-in workspace at the address given as argument.
 *
 * The steps follow one another, so the first failure of a chain shows in those
 * that need it.
 */
"use strict";

const assert = require("node:assert");
const https = require("node:https");
const {admin, all, client, control, host, main, timeout} = require("./steps");

const task = (key, ...deps) => ({
	task_key: key,
	notebook_task: {notebook_path: "/Shared/n"},
	depends_on: deps.map((d) => ({task_key: d})),
});

const w = client(admin);
let job, run, submitted;

main({
	"asks for the discovery document": async () => {
		const config = await new Promise((resolve, reject) => {
			https.get(`${host}/.well-known/databricks-config?`, (res) => {
				let text = "";
				res.on("data", (part) => (text += part));
				res.on("end", () => resolve(JSON.parse(text)));
			}).on("error", reject);
		});
		assert.equal(config.oidc_endpoint, `${host}/oidc`);
	},
	"currentUser.me": async () => {
		assert.equal((await w.currentUser.me()).userName, "admin@example.com");
	},
	"jobs.create": async () => {
		job = (await w.jobs.create({
			name: "client",
			tasks: [task("a"), task("b", "a")],
			parameters: [{name: "day", default: "d"}],
			max_concurrent_runs: 2,
		})).job_id;
		assert.ok(Number.isSafeInteger(job));
	},
	"jobs.get": async () => {
		const got = await w.jobs.get({job_id: job});
		assert.equal(got.settings.name, "client");
		assert.equal(got.settings.tasks.length, 2);
	},
	"jobs.update": async () => {
		await w.jobs.update({job_id: job, new_settings: {description: "x"}});
		assert.equal((await w.jobs.get({job_id: job})).settings.description, "x");
	},
	"jobs.list pages": async () => {
		for (let n = 0; n < 7; n++) await w.jobs.create({name: `more-${n}`, tasks: [task("a")]});
		const rows = await all(w.jobs.list({limit: 3}));
		assert.equal(rows.length, 8);
		assert.equal((await all(w.jobs.list({name: "CLIENT"}))).length, 1);
	},
	"jobs.runNow and wait": async () => {
		const waiter = await w.jobs.runNow({job_id: job, job_parameters: {day: "today"}, idempotency_token: "one"});
		run = waiter.run_id;
		const again = await w.jobs.runNow({job_id: job, idempotency_token: "one"});
		assert.equal(again.run_id, run);
		const done = await waiter.wait(timeout);
		assert.equal(done.state.result_state, "SUCCESS");
	},
	"jobs.getRun": async () => {
		const got = await w.jobs.getRun({run_id: run, include_history: true});
		assert.equal(got.status.termination_details.code, "SUCCESS");
		assert.equal(got.job_parameters[0].value, "today");
		assert.equal(got.repair_history.length, 1);
	},
	"jobs.getRunOutput": async () => {
		const got = await w.jobs.getRun({run_id: run});
		const output = await w.jobs.getRunOutput({run_id: got.tasks[0].run_id});
		assert.equal(output.metadata.task_key, "a");
		await assert.rejects(w.jobs.getRunOutput({run_id: run}), /runs with multiple tasks/);
	},
	"jobs.exportRun": async () => {
		const got = await w.jobs.getRun({run_id: run});
		const views = (await w.jobs.exportRun({run_id: got.tasks[0].run_id})).views;
		assert.equal(views[0].type, "NOTEBOOK");
	},
	"jobs.repairRun of a failed run": async () => {
		await control("POST", "plans", {match: {task_key: "b"}, plan: {result: "FAILED"}, count: 1});
		const failed = await w.jobs.runNow({job_id: job});
		await assert.rejects(failed.wait(timeout), /INTERNAL_ERROR/);
		const waiter = await w.jobs.repairRun({run_id: failed.run_id, rerun_all_failed_tasks: true});
		assert.ok(waiter.repair_id > 0);
		const done = await waiter.wait(timeout);
		assert.equal(done.state.result_state, "SUCCESS");
		assert.equal(done.tasks.length, 3);
	},
	"jobs.cancelRun and wait": async () => {
		await control("POST", "plans", {match: {job_id: job}, plan: {duration_ms: -1}, count: 1});
		const started = await w.jobs.runNow({job_id: job});
		const done = await (await w.jobs.cancelRun({run_id: started.run_id})).wait(timeout);
		assert.equal(done.state.result_state, "CANCELED");
	},
	"jobs.cancelAllRuns": async () => {
		await w.jobs.cancelAllRuns({job_id: job});
	},
	"jobs.submit and wait": async () => {
		const waiter = await w.jobs.submit({run_name: "once", tasks: [task("only")]});
		submitted = waiter.run_id;
		assert.equal((await waiter.wait(timeout)).run_type, "SUBMIT_RUN");
	},
	"jobs.listRuns pages and filters": async () => {
		await control("POST", "seed", {jobs: 2, runs: 60});
		assert.equal((await all(w.jobs.listRuns({limit: 25}))).length, 64);
		assert.equal((await all(w.jobs.listRuns({run_type: "SUBMIT_RUN"})))[0].run_id, submitted);
		assert.equal((await all(w.jobs.listRuns({job_id: job, expand_tasks: true})))[0].tasks.length, 2);
	},
	"jobs.deleteRun": async () => {
		await w.jobs.deleteRun({run_id: submitted});
		await assert.rejects(w.jobs.getRun({run_id: submitted}), /does not exist/);
	},
	"429 is retried": async () => {
		await control("POST", "faults", {kind: "status", status: 429, path: "*/jobs/get"});
		assert.equal((await w.jobs.get({job_id: job})).job_id, job);
	},
	"jobs.delete": async () => {
		await w.jobs.delete({job_id: job});
		await assert.rejects(w.jobs.get({job_id: job}), /does not exist/);
	},
	"a wrong token is refused": async () => {
		await assert.rejects(client("wrong").jobs.get({job_id: job}), /Invalid access token/);
	},
	"nothing asked for was unknown": async () => {
		const missing = await control("GET", "journal?status=404");
		assert.deepEqual(missing.entries.map((e) => `${e.method} ${e.path}`), []);
	},
});
