/*
 * areas.js: the other areas of the API through the vendor's JavaScript client:
 * compute, secrets, permissions, files, workspace objects, Git folders, SQL and
 * pipelines.
 */
"use strict";

const assert = require("node:assert");
const {admin, all, client, control, main, timeout} = require("./steps");

const w = client(admin);
const home = "/Users/admin@example.com/areas";
const volume = "/Volumes/main/default/landing";
let cluster, pipeline, repo, warehouse;

async function text(stream) {
	let all = "";
	const reader = stream.getReader();
	for (;;) {
		const {done, value} = await reader.read();
		if (done) return all;
		all += Buffer.from(value).toString();
	}
}

main({
	"clusters.create and wait": async () => {
		await control("POST", "reset", {});
		const nodes = (await w.clusters.listNodeTypes()).node_types;
		const versions = (await w.clusters.sparkVersions()).versions;
		const done = await (await w.clusters.create({
			cluster_name: "areas",
			spark_version: versions[0].key,
			node_type_id: nodes[0].node_type_id,
			num_workers: 1,
			autotermination_minutes: 20,
		})).wait(timeout);
		cluster = done.cluster_id;
		assert.equal(done.state, "RUNNING");
	},
	"clusters.resize, update, edit and wait": async () => {
		assert.equal((await (await w.clusters.resize({cluster_id: cluster, num_workers: 3})).wait(timeout)).num_workers, 3);
		const got = await (await w.clusters.update({
			cluster_id: cluster,
			update_mask: "autotermination_minutes",
			cluster: {autotermination_minutes: 30},
		})).wait(timeout);
		assert.equal(got.autotermination_minutes, 30);
		const edited = await (await w.clusters.edit({
			cluster_id: cluster,
			cluster_name: "renamed",
			spark_version: got.spark_version,
			node_type_id: got.node_type_id,
			autoscale: {min_workers: 1, max_workers: 2},
		})).wait(timeout);
		assert.equal(edited.cluster_name, "renamed");
	},
	"clusters.list and events": async () => {
		assert.equal((await all(w.clusters.list({})))[0].cluster_id, cluster);
		const types = (await all(w.clusters.events({cluster_id: cluster, limit: 2, order: "ASC"}))).map((e) => e.type);
		assert.equal(types[0], "CREATING");
		assert.ok(types.includes("RESIZING"));
	},
	"clusters.restart, delete, start and permanentDelete": async () => {
		await (await w.clusters.restart({cluster_id: cluster})).wait(timeout);
		assert.equal((await (await w.clusters.delete({cluster_id: cluster})).wait(timeout)).state, "TERMINATED");
		assert.equal((await (await w.clusters.start({cluster_id: cluster})).wait(timeout)).state, "RUNNING");
		await w.clusters.permanentDelete({cluster_id: cluster});
		await assert.rejects(w.clusters.get({cluster_id: cluster}), /does not exist/);
	},
	"secrets": async () => {
		await w.secrets.createScope({scope: "areas"});
		await w.secrets.putSecret({scope: "areas", key: "k", string_value: "v\u00e9"});
		assert.equal(Buffer.from((await w.secrets.getSecret({scope: "areas", key: "k"})).value, "base64").toString(), "v\u00e9");
		assert.deepEqual((await all(w.secrets.listSecrets({scope: "areas"}))).map((s) => s.key), ["k"]);
		await w.secrets.putAcl({scope: "areas", principal: "users", permission: "READ"});
		assert.equal((await w.secrets.getAcl({scope: "areas", principal: "users"})).permission, "READ");
		assert.equal((await all(w.secrets.listAcls({scope: "areas"}))).length, 2);
		await w.secrets.deleteAcl({scope: "areas", principal: "users"});
		await w.secrets.deleteSecret({scope: "areas", key: "k"});
		await w.secrets.deleteScope({scope: "areas"});
		assert.equal((await all(w.secrets.listScopes())).length, 0);
	},
	"permissions of a job": async () => {
		const job = (await w.jobs.create({name: "p", tasks: [{task_key: "a", notebook_task: {notebook_path: "/Shared/n"}}]})).job_id;
		const request = {request_object_type: "jobs", request_object_id: String(job)};
		/* the client sends no body with PATCH, so only the call that replaces can be tried */
		await w.permissions.set({...request, access_control_list: [
			{user_name: "admin@example.com", permission_level: "IS_OWNER"},
			{group_name: "analysts", permission_level: "CAN_VIEW"},
		]});
		const got = await w.permissions.get(request);
		assert.equal(got.object_id, `/jobs/${job}`);
		assert.ok(got.access_control_list.some((e) => e.group_name === "analysts"));
		assert.equal((await w.permissions.getPermissionLevels(request)).permission_levels.length, 4);
	},
	"dbfs in blocks": async () => {
		const handle = (await w.dbfs.create({path: "/areas/f", overwrite: true})).handle;
		await w.dbfs.addBlock({handle, data: Buffer.from("one ").toString("base64")});
		await w.dbfs.addBlock({handle, data: Buffer.from("two").toString("base64")});
		await w.dbfs.close({handle});
		const read = await w.dbfs.read({path: "/areas/f", offset: 0, length: 100});
		assert.equal(Buffer.from(read.data, "base64").toString(), "one two");
		await w.dbfs.move({source_path: "/areas/f", destination_path: "/areas/g"});
		assert.deepEqual((await all(w.dbfs.list({path: "/areas"}))).map((f) => f.path), ["/areas/g"]);
		await w.dbfs.delete({path: "/areas", recursive: true});
	},
	"files of a volume": async () => {
		await w.files.createDirectory({directory_path: `${volume}/d`});
		assert.deepEqual((await all(w.files.listDirectoryContents({directory_path: volume}))).map((e) => e.name), ["d"]);
		await w.files.deleteDirectory({directory_path: `${volume}/d`});
		await assert.rejects(w.files.download({file_path: `${volume}/none`}), /does not exist/);
	},
	"workspace objects": async () => {
		await w.workspace.mkdirs({path: home});
		const content = Buffer.from("print(1)").toString("base64");
		await w.workspace.import({path: `${home}/n`, language: "PYTHON", format: "SOURCE", content, overwrite: true});
		assert.equal((await w.workspace.getStatus({path: `${home}/n`})).object_type, "NOTEBOOK");
		const back = (await w.workspace.export({path: `${home}/n`, format: "SOURCE"})).content;
		assert.match(Buffer.from(back, "base64").toString(), /print\(1\)$/);
		assert.equal((await all(w.workspace.list({path: home}))).length, 1);
		await w.workspace.delete({path: home, recursive: true});
	},
	"Git folders": async () => {
		repo = (await w.repos.create({url: "https://git.example.com/e/areas.git", provider: "gitHub"})).id;
		await w.repos.update({repo_id: repo});
		assert.equal((await w.repos.get({repo_id: repo})).branch, "main");
		assert.equal((await all(w.repos.list({}))).length, 1);
		await w.repos.delete({repo_id: repo});
	},
	"warehouses and statements": async () => {
		warehouse = (await all(w.warehouses.list({})))[0].id;
		await (await w.warehouses.start({id: warehouse})).wait(timeout);
		const done = await w.statementExecution.executeStatement({warehouse_id: warehouse, statement: "SELECT 1"});
		assert.equal(done.status.state, "SUCCEEDED");
		assert.deepEqual(done.result.data_array, [["1"]]);
		const again = await w.statementExecution.getStatement({statement_id: done.statement_id});
		assert.equal(again.manifest.total_row_count, 1);
		assert.equal((await (await w.warehouses.stop({id: warehouse})).wait(timeout)).state, "STOPPED");
	},
	"pipelines": async () => {
		pipeline = (await w.pipelines.create({name: "areas"})).pipeline_id;
		const update = (await w.pipelines.startUpdate({pipeline_id: pipeline, full_refresh: true})).update_id;
		assert.equal((await w.pipelines.getUpdate({pipeline_id: pipeline, update_id: update})).update.update_id, update);
		assert.equal((await all(w.pipelines.listPipelines({})))[0].name, "areas");
		await (await w.pipelines.stop({pipeline_id: pipeline})).wait(timeout);
	},
	"nothing asked for had no route": async () => {
		const missing = (await control("GET", "journal?status=404")).entries.filter((e) => !/\/none$/.test(e.path));
		assert.deepEqual(missing.map((e) => `${e.method} ${e.path}`), []);
	},
});
