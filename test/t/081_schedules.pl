# 081_schedules.pl - schedules with pg_cron: entries, rights, one real minute.

use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

use Databricks::Test;

my $node = new_node('main', preload => 1, cron => 1);

sub value { return $node->safe_psql('postgres', $_[0]); }

# As a role that has logged in.
sub value_as
{
	my ($role, $sql) = @_;
	return $node->safe_psql('postgres', $sql, extra_params => [ '-U', $role ]);
}

sub error_as
{
	my ($role, $sql) = @_;
	return sql_error($node, $sql, extra_params => [ '-U', $role ]);
}

value(q{
	CREATE ROLE planner LOGIN;
	CREATE ROLE other LOGIN;
	CREATE ROLE "a group" NOLOGIN;
	GRANT "a group" TO planner;
	CREATE SERVER prod FOREIGN DATA WRAPPER databricks OPTIONS (host 'https://127.0.0.1:9');
	CREATE USER MAPPING FOR PUBLIC SERVER prod OPTIONS (token 'not-a-token');
	GRANT USAGE ON FOREIGN SERVER prod TO planner, other, "a group";
	SELECT databricks.migrate();
});

# --- what is missing, one after the other ------------------------------------

my $schedule = q{SELECT databricks.schedule('hourly', '0 * * * *', 77)};
my $error = error_as('planner', $schedule);
is($error->{state}, '55000', 'without pg_cron in the database');
is( $error->{hint},
	'As a superuser do CREATE EXTENSION pg_cron, then GRANT USAGE ON SCHEMA cron TO planner.',
	'the hint says how to get it');

value('CREATE EXTENSION pg_cron');
$error = error_as('planner', $schedule);
is("$error->{state} $error->{hint}",
	'42501 As a superuser do GRANT USAGE ON SCHEMA cron TO planner.',
	'without rights on schema cron');

value('GRANT USAGE ON SCHEMA cron TO planner, other, "a group"');
$error = error_as('planner', qq{SET ROLE "a group"; $schedule});
is("$error->{state} $error->{hint}",
	'55000 Do ALTER ROLE "a group" LOGIN, or schedule as another role.',
	'as a role that cannot log in');

value('CREATE DATABASE elsewhere');
create_extension($node, 'elsewhere');
$error = sql_error($node, $schedule, database => 'elsewhere');
like("$error->{state} $error->{message} $error->{hint}",
	qr/^55000 .*database "postgres", not in "elsewhere".*Keep schedules in database "postgres"/,
	'in another database than pg_cron');

# --- entries -----------------------------------------------------------------

my $entries =
  q{SELECT string_agg(concat_ws('|', jobname, schedule, command, username, database), E'\n' ORDER BY jobid) FROM cron.job};

my $id = value_as('planner', q{SELECT databricks.schedule('nightly', '30 2 * * *', 'etl', timezone => 'Europe/Berlin',
	parameters_sql => $$jsonb_build_object('day', ($1 AT TIME ZONE 'Europe/Berlin')::date - 1)$$)});
is( value($entries),
	"databricks:$id|0,30 0,1 * * *|SELECT databricks.tick_schedule($id)|planner|postgres",
	'the entry belongs to the role that scheduled');
is( value_as('planner', q{SELECT databricks.schedule('nightly', '0 6 * * mon', 'etl', timezone => 'asia/kolkata')}),
	$id, 'a second call changes the schedule');
is( value($entries),
	"databricks:$id|30 0 * * 1|SELECT databricks.tick_schedule($id)|planner|postgres",
	'and the entry');
is( value_as('planner', q{
	SELECT name, owner, workspace, job_id, job_name, cron, timezone, parameters_sql, paused,
		   extract(isodow FROM next_tick AT TIME ZONE 'Asia/Kolkata'), cron_entry, cron_job_id IS NOT NULL, cron_error
	FROM databricks.schedules}),
	'nightly|planner|prod||etl|0 6 * * mon|Asia/Kolkata||f|1|30 0 * * 1|t|',
	'the view');

# Names are each role's own, and as long as one likes.
my $long = 'x' x 200;
my $others = value_as('other', qq{SELECT databricks.schedule('nightly', '0 0 * * *', 1);
	SELECT databricks.schedule('$long', '0 0 * * *', 2)});
is( value_as('other', 'SELECT length(name), owner, cron_job_id IS NOT NULL FROM databricks.schedules ORDER BY 1'),
	"7|other|t\n200|other|t", 'other roles have schedules of the same name');
is(value_as('planner', 'SELECT count(*) FROM databricks.schedules'), '1', 'a role sees its own');
is(value('SELECT count(*) FROM databricks.schedules'), '3', 'a superuser sees all');
is( error_as('other', "SELECT databricks.tick_schedule($id)")->{state},
	'42704', 'another role cannot make it tick');
is( sql_error($node, "SELECT databricks.tick_schedule($id)")->{state},
	'42704', 'nor can a superuser, who would run its SQL');

# A rollback leaves neither schedule nor entry.
value_as('planner', q{BEGIN; SELECT databricks.schedule('never', '* * * * *', 1); ROLLBACK});
is(value(q{SELECT count(*) FROM cron.job}), '3', 'a rollback takes the entry back');

value_as('other', qq{SELECT databricks.unschedule('$long'); SELECT databricks.pause_schedule('nightly')});
is(value(q{SELECT string_agg(username, ',') FROM cron.job}), 'planner', 'paused and removed schedules have no entry');
value_as('other', q{SELECT databricks.schedule('nightly', '5 0 * * *', 1)});
is( value_as('other', 'SELECT paused, cron, cron_job_id IS NULL, cron_error IS NULL FROM databricks.schedules'),
	't|5 0 * * *|t|t', 'a paused schedule stays paused when it is changed');
value_as('other', q{SELECT databricks.resume_schedule('nightly')});
is( value_as('other', 'SELECT paused, cron_entry, cron_job_id IS NOT NULL FROM databricks.schedules'),
	'f|5 0 * * *|t', 'resumed');

# --- one real minute ---------------------------------------------------------

# As pg_cron calls, every minute: one that goes well, one whose SQL fails, one
# whose tick comes twice (an entry like ours, under another name), and one for
# which pg_cron calls although it does not tick.
value_as('planner', q{
	SELECT databricks.unschedule('nightly');
	SELECT databricks.schedule('good', '* * * * *', 77, '{"a": 1}', $$jsonb_build_object('tick', $1, 'who', session_user || ' ' || current_user)$$, overlap => 'allow');
	SELECT databricks.schedule('bad', '* * * * *', 77, parameters_sql => $$jsonb_build_object('x', 1 / (date_part('year', $1)::int - date_part('year', $1)::int))$$);
	SELECT databricks.schedule('twice', '* * * * *', 77, overlap => 'allow');
	SELECT databricks.schedule('not now', '0 0 29 2 *', 77);
	SELECT cron.schedule('again', '* * * * *', format('SELECT databricks.tick_schedule(%s)', schedule_id)) FROM databricks.schedules WHERE name = 'twice';
	SELECT cron.schedule('early', '* * * * *', format('SELECT databricks.tick_schedule(%s)', schedule_id)) FROM databricks.schedules WHERE name = 'not now';
});
poll_until('pg_cron has called for all', sub {
	value(q{SELECT count(DISTINCT jobid) FROM cron.job_run_details WHERE username = 'planner' AND end_time IS NOT NULL}) == 5;
});
value(q{UPDATE cron.job SET active = false});
poll_until('pg_cron is done', sub {
	value(q{SELECT count(*) FROM cron.job_run_details WHERE end_time IS NULL}) == 0;
});

# Should the next minute have come meanwhile, each has two ticks.
my $good = q{FROM databricks.run_requests WHERE schedule_name = 'good'};
is( value(qq{
	SELECT bool_and(tick = date_trunc('minute', tick) AND created_at - tick BETWEEN '0' AND '1 min'),
		   bool_and(body = jsonb_build_object('job_parameters', jsonb_build_object('a', '1', 'tick', body #>> '{job_parameters,tick}', 'who', 'planner planner'))),
		   bool_and((body #>> '{job_parameters,tick}')::timestamptz = tick),
		   bool_and(requested_by = 'planner' AND session_user_name = 'planner' AND state <> 'rejected')
	$good}),
	't|t|t|t', 'a tick of pg_cron becomes a request of its own minute, as the owner');
is( value(q{SELECT count(*) > 0 AND count(*) = count(DISTINCT tick)
			FROM databricks.run_requests WHERE schedule_name = 'twice'}),
	't', 'a tick that comes twice becomes one request');
is( value(q{SELECT count(*) FROM databricks.run_requests WHERE schedule_name IN ('bad', 'not now')}),
	'0', 'no request where the SQL fails, or it is not the time');
is( value(q{SELECT count(*) FROM cron.job_run_details d JOIN cron.job j USING (jobid)
			WHERE j.jobname = 'early' AND d.status = 'succeeded'}) > 0,
	1, 'a call too early is no error');
my $view = value_as('planner', q{SELECT name, cron_called_at IS NOT NULL, last_tick IS NOT NULL, cron_error FROM databricks.schedules ORDER BY name});
like($view, qr/^bad\|t\|f\|the entry in pg_cron is not active$/m, 'an entry that is switched off shows');
value(q{UPDATE cron.job SET schedule = '0 0 29 2 *', active = true});
$view = value_as('planner', q{SELECT name, cron_called_at IS NOT NULL, last_tick IS NOT NULL, cron_error FROM databricks.schedules ORDER BY name});
like($view, qr/^bad\|t\|f\|ERROR: +division by zero/m, 'the error of the last call shows');
like($view, qr/^good\|t\|t\|$/m, 'and where there is none');

# --- two calls for one tick at the same time -----------------------------------

my $twice = value(q{SELECT schedule_id FROM databricks.schedule_settings WHERE name = 'twice'});
my $tick = "SELECT coalesce(databricks.tick_schedule($twice, now() + interval '1 hour')::text, 'nothing')";
my $first = $node->background_psql('postgres', extra_params => [ '-U', 'planner' ]);
my $second = $node->background_psql('postgres', extra_params => [ '-U', 'planner' ]);
like($first->query("BEGIN; $tick;"), qr/^\d+$/m, 'the first call makes a request');
$second->query_until(qr/begun/, "\\echo begun\n$tick;\n");
poll_until('the second call waits', sub {
	value(q{SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE '%tick_schedule%'}) == 1;
});
$first->query('COMMIT');
like($second->query('SELECT 1'), qr/^nothing$/m, 'the second one finds it done');
$first->quit;
$second->quit;
is( value(q{SELECT count(*) - count(DISTINCT tick) FROM databricks.run_requests WHERE schedule_name = 'twice'}),
	'0', 'one request for the tick');

# --- the server was down -------------------------------------------------------

# Three hours of an hourly schedule, one whose SQL fails, one that is paused.
value(q{
	DELETE FROM databricks.run_requests;
	UPDATE databricks.schedule_settings SET cron = '0 * * * *', misfire = 'all', overlap = 'queue', done_to = date_trunc('hour', now()) - interval '2 hours 1 minute'
		WHERE name IN ('good', 'bad', 'not now');
	UPDATE databricks.schedule_settings SET paused_at = now() WHERE name = 'not now';
});
my $log = log_position($node);
$node->restart;
poll_until('missed ticks are made up for', sub { value(qq{SELECT count(*) $good}) >= 2 });
is( value(qq{
	SELECT bool_and(body #>> '{job_parameters,who}' = 'planner planner'), count(*) = count(DISTINCT tick),
		   count(*) FILTER (WHERE after_requests IS NULL) $good}),
	't|t|1', 'in a process connected as the owner, one after the other');
poll_until('the error is logged', sub { log_since($node, $log) =~ /WARNING:  schedule \d+ could not make up for missed ticks: division by zero/ });
is( value(q{SELECT count(*) FROM databricks.run_requests WHERE schedule_name IN ('bad', 'not now')}),
	'0', 'neither the one that fails nor the one that is paused');

# --- pg_cron taken away --------------------------------------------------------

value('REVOKE USAGE ON SCHEMA cron FROM planner, "a group"');
is( value_as('planner', q{SELECT DISTINCT cron_error FROM databricks.schedules}),
	'role planner has no USAGE on schema cron', 'rights that were lost show');
is(error_as('planner', q{SELECT databricks.unschedule('good')})->{state},
	'42501', 'an entry that cannot be removed is not left behind');
value('GRANT USAGE ON SCHEMA cron TO planner; DROP EXTENSION pg_cron');
is( value_as('planner', q{SELECT DISTINCT cron_error FROM databricks.schedules}),
	'pg_cron is not installed in this database', 'DROP EXTENSION pg_cron shows');
value_as('planner', q{SELECT databricks.unschedule('bad')});
value('CREATE EXTENSION pg_cron; GRANT USAGE ON SCHEMA cron TO planner');
is( value_as('planner', q{SELECT DISTINCT cron_error FROM databricks.schedules WHERE NOT paused}),
	'there is no entry in pg_cron; resume_schedule() makes it anew', 'entries that were lost show');
value_as('planner', q{SELECT databricks.resume_schedule('good')});
is( value_as('planner', q{SELECT cron_error IS NULL, cron_job_id IS NOT NULL, last_tick IS NOT NULL FROM databricks.schedules WHERE name = 'good'}),
	't|t|t', 'resume_schedule() makes the entry anew');

# --- DROP EXTENSION databricks keeps the schedules -----------------------------

value('DROP EXTENSION databricks CASCADE');
is(value('SELECT count(*) FROM databricks.schedule_settings'), '4', 'DROP EXTENSION keeps schedules');

done_testing();
