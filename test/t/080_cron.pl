# 080_cron.pl - cron expressions: what pg_cron takes, and what we make of them.

use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

use Databricks::Test;

my $node = new_node('main', preload => 1, cron => 1);
$node->safe_psql('postgres', 'CREATE EXTENSION pg_cron');
$node->safe_psql(
	'postgres', q{
	CREATE FUNCTION cron_takes(expression text) RETURNS boolean LANGUAGE plpgsql AS $$
	BEGIN
		PERFORM cron.unschedule(cron.schedule('try', expression, 'SELECT 1'));
		RETURN true;
	EXCEPTION WHEN invalid_parameter_value THEN
		RETURN false;
	END $$;
	CREATE FUNCTION we_take(expression text) RETURNS boolean LANGUAGE plpgsql AS $$
	BEGIN
		PERFORM databricks.next_tick(expression);
		RETURN true;
	EXCEPTION WHEN invalid_parameter_value THEN
		RETURN false;
	END $$;
});

# Which of the expressions do pg_cron and we take? As "expression: pg_cron, we".
sub verdicts
{
	my $list = join(', ', map { "(\$q\$$_\$q\$)" } @_);
	return $node->safe_psql('postgres',
		"SELECT e || ': ' || cron_takes(e) || ', ' || we_take(e) FROM (VALUES $list) AS v (e)");
}

sub are
{
	my ($pg_cron, $we, $name, @expressions) = @_;
	is( verdicts(@expressions),
		join("\n", map { "$_: $pg_cron, $we" } @expressions),
		$name);
	return;
}

my $newer = $node->safe_psql('postgres',
	q{SELECT string_to_array(split_part(extversion, '-', 1), '.')::int[] >= '{1,6}' FROM pg_extension WHERE extname = 'pg_cron'}) eq 't';

are('true', 'true', 'what pg_cron takes',
	'* * * * *', '*/5 * * * *', '0 0 * * *', '0,30 8-17 * * 1-5', '5,4,6 * * * *',
	'1-59/2 * * * *', '0 */6 * * *', '0 12 * * mon', '0 12 * * MON-fri',
	'0 12 * * sun', '0 12 * * 0,7', '0 12 * * 6-7', '0 0 1 jan *', '0 0 1 Jan-jun/2 *',
	'0 0 13 * 5', '0 0 */2 * 1', '0 0 29 2 *', '00 07 01 01 *', '0-0 5 * * *',
	'*,5 * * * *', '*/59 * * * *', '  0   0 *  *  * ', "0\t0\t*\t*\t*",
	'@hourly', '@daily', '@midnight', '@weekly', '@monthly', '@yearly', '@annually',
	' @daily');

are('false', 'false', 'what pg_cron refuses',
	'', ' ', '*', '* * * *', '60 * * * *', '* 24 * * *', '* * 0 * *', '* * 32 * *',
	'* * * 0 *', '* * * 13 *', '* * * * 8', '-1 * * * *', '1/5 * * * *', '*/0 * * * *',
	'1-5/x * * * *', '1- * * * *', '1, * * * *', ',1 * * * *', '1,,2 * * * *',
	'* * * january *', '* * * foo *', '* * * * mo', 'mon * * * *', '5x * * * *',
	'0-60 * * * *', '@often', '@Daily', '@', 'every day');

# pg_cron stops reading where it has enough, or never calls.
are('true', 'false', 'what pg_cron takes and can only be a mistake',
	'* * * * * *', '* * * * * echo', '*5 * * * *', '5;3 * * * *', '@daily x',
	'0 0 30 2 *', '0 0 31 4,6 *', '@reboot', '@restart');
are('true', 'false', 'ranges that end before they begin',
	'5-1 * * * *', '* * * * fri-mon', '* * * * sat-sun')
  unless $newer;
are($newer ? 'false' : 'true', 'false', 'steps beyond the field, as newer versions',
	'*/60 * * * *', '* */24 * * *');
are($newer ? 'true' : 'false', 'true', 'the last day of the month, as newer versions',
	'0 0 $ * *', '0 0 $ feb *');

# Whatever we make of a schedule, pg_cron takes it, and calls in GMT whenever it
# ticks.
is( $node->safe_psql(
		'postgres', q{
		WITH schedules AS (
			SELECT format('%s %s %s %s %s', m, h, d, mo, w) AS cron, z AS zone
			FROM unnest('{0,*/20,"5,50"}'::text[]) AS m, unnest('{*,2,0-3,23}'::text[]) AS h,
				 unnest('{*,1,31,$,*/3}'::text[]) AS d, unnest('{*,"1,12",3-10/7}'::text[]) AS mo,
				 unnest('{*,mon,1-5,*/6}'::text[]) AS w,
				 unnest('{Europe/Berlin,America/New_York,Asia/Kolkata,Australia/Lord_Howe,Pacific/Kiritimati}'::text[]) AS z),
		entries AS (
			SELECT cron, zone, databricks.cron_entry(cron, zone) AS entry FROM schedules)
		SELECT count(*), count(*) FILTER (WHERE cron_takes(entry)), count(DISTINCT entry) > 500,
			   count(*) FILTER (WHERE split_part(cron, ' ', 2) <> '*' AND split_part(entry, ' ', 2) = '*')
		FROM entries}),
	'3600|3600|t|0',
	'pg_cron takes every entry, and no named hour becomes every hour');
is( $node->safe_psql(
		'postgres', q{
		SELECT count(*) > 10000, count(*) FILTER (WHERE NOT EXISTS (
				SELECT FROM databricks.ticks(databricks.cron_entry(cron, zone), t, t + interval '1 minute')))
		FROM (SELECT format('%s %s %s * %s', m, h, d, w) AS cron, z AS zone
			  FROM unnest('{0,"5,50"}'::text[]) AS m, unnest('{2,0-3,23}'::text[]) AS h,
				   unnest('{*,1,$,*/3}'::text[]) AS d, unnest('{*,mon,*/6}'::text[]) AS w,
				   unnest('{Europe/Berlin,America/New_York,Asia/Kolkata,Australia/Lord_Howe,Pacific/Kiritimati}'::text[]) AS z) AS s,
			 databricks.ticks(cron, now(), now() + interval '500 days', zone) AS t}),
	't|0',
	'no tick is missing in the entry');

done_testing();
