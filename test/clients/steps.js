/*
 * steps.js: what the tests with the vendor's JavaScript client share: the
 * client itself, the control of the stand-in workspace, and the counting.
 *
 * Separate because each area of the API has a file of its own.
 */
"use strict";

const https = require("node:https");
const {Config, WorkspaceClient, Time, TimeUnits} = require("@databricks/sdk-experimental");

const host = process.argv[2];
const admin = "dapi-standin-admin";
const timeout = {timeout: new Time(60, TimeUnits.seconds)};

function client(token) {
	return new WorkspaceClient(new Config({host, token, authType: "pat"}));
}

function control(method, name, body) {
	return new Promise((resolve, reject) => {
		const req = https.request(`${host}/__control/${name}`, {method, rejectUnauthorized: true}, (res) => {
			let text = "";
			res.on("data", (part) => (text += part));
			res.on("end", () => resolve(JSON.parse(text)));
		});
		req.on("error", reject);
		req.end(body === undefined ? undefined : JSON.stringify(body));
	});
}

async function all(pages) {
	const rows = [];
	for await (const row of pages) rows.push(row);
	return rows;
}

/* Run steps in order; each counts as one test.  Returns the number of failed ones. */
async function run(steps) {
	let passed = 0;
	let failed = 0;
	for (const [name, step] of Object.entries(steps)) {
		try {
			await step();
			passed++;
		} catch (e) {
			failed++;
			console.log(`FAILED ${name}: ${e.stack || e}`);
		}
	}
	console.log(`${passed} passed, ${failed} failed`);
	return failed;
}

function main(steps) {
	run(steps).then((failed) => process.exit(failed === 0 ? 0 : 1), (e) => {
		console.error(e);
		process.exit(1);
	});
}

module.exports = {admin, all, client, control, host, main, timeout};
