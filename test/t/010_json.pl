# 010_json.pl - src/json: what is read, what is refused, and that nothing is lost
#
# Runs the functions of test/unit (make -C test/unit install), which call src/json
# directly, so neither the extension nor a workspace is needed. The server's own
# JSON reader serves as the second opinion.

use strict;
use warnings;

use File::Basename;
use File::Spec;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = PostgreSQL::Test::Cluster->new('json');
$node->init(extra => [ '-E', 'UTF8', '--locale=C' ]);
$node->append_conf('postgresql.conf', "log_min_messages = error\nlog_statement = none");
$node->start;
$node->safe_psql('postgres', 'CREATE EXTENSION databricks_unit');

# A literal of any bytes.
sub bytes
{
	my ($text) = @_;
	return "'\\x" . unpack('H*', $text) . "'::bytea";
}

# First column of each row, whatever is in it; undef for null.
sub values_of
{
	my ($sql, $db) = @_;
	my $out = $node->safe_psql($db // 'postgres',
		"SELECT coalesce(encode(convert_to(v::text, 'UTF8'), 'hex'), '-') FROM ($sql) AS q(v)"
	);
	return map { $_ eq '-' ? undef : pack('H*', $_) } split(/\n/, $out, -1);
}

sub value_of { return (values_of("SELECT $_[0]", $_[1]))[0]; }

sub slurp_bytes
{
	my ($file) = @_;
	open(my $fh, '<:raw', $file) or die "$file: $!";
	local $/;
	return scalar <$fh>;
}

my $fffd = "\xEF\xBF\xBD";

# Texts that are read: name, text, the jsonb they become.
my @accepted = (
	[ 'object', '{"a":1,"b":[true,false,null,"x"]}', '{"a": 1, "b": [true, false, null, "x"]}' ],
	[ 'empty object', '{}', '{}' ],
	[ 'empty array', '[]', '[]' ],
	[ 'nested empties', '[[],{},[[]]]', '[[], {}, [[]]]' ],
	[ 'top-level string', '"x"', '"x"' ],
	[ 'top-level number', '17', '17' ],
	[ 'top-level null', 'null', 'null' ],
	[ 'top-level true', 'true', 'true' ],
	[ 'white space', " \t\r\n{ \"a\" :\n1 } \n", '{"a": 1}' ],
	[ 'byte order mark', "\xEF\xBB\xBF{\"a\":1}", '{"a": 1}' ],
	[ 'byte order mark before a long number', "\xEF\xBB\xBF[9007199254740993]", '[9007199254740993]' ],
	[ 'doubled name', '{"a":1,"a":2}', '{"a": 2}' ],
	[ 'empty name', '{"":1}', '{"": 1}' ],

	[ 'largest int64', '[9223372036854775807]', '[9223372036854775807]' ],
	[ 'smallest int64', '[-9223372036854775808]', '[-9223372036854775808]' ],
	[ 'beyond int64', '[9223372036854775808]', '[9223372036854775808]' ],
	[ '2^53 + 1', '{"id":9007199254740993}', '{"id": 9007199254740993}' ],
	[ '15 digits', '[999999999999999,-999999999999999]', '[999999999999999, -999999999999999]' ],
	[ '16 digits', '[1234567890123456]', '[1234567890123456]' ],
	[ 'zero', '[0]', '[0]' ],
	[ 'negative zero', '[-0]', '[0]' ],
	[ 'decimal keeps its zero', '[1.10]', '[1.10]' ],
	[ 'many decimals', '[0.1234567890123456789012345678901]', '[0.1234567890123456789012345678901]' ],
	[ 'negative decimal', '[-0.5]', '[-0.5]' ],
	[ 'exponent', '[1e3,1E+3,25e-1]', '[1000, 1000, 2.5]' ],
	[ 'beyond a double', '[1e400]', '[1' . '0' x 400 . ']' ],
	[ 'long numbers among others', '{"a":1,"b":1.5,"c":"1.5","d":[12345678901234567890,2]}',
		'{"a": 1, "b": 1.5, "c": "1.5", "d": [12345678901234567890, 2]}' ],
	[ '1000 digits', '[' . '7' x 1000 . ']', '[' . '7' x 1000 . ']' ],

	[ 'escapes', '["\"\\\\\/\b\f\n\r\t"]', '["\"\\\\/\b\f\n\r\t"]' ],
	[ 'escaped letter', '["\u0041\u00e9\u20AC"]', "[\"A\xC3\xA9\xE2\x82\xAC\"]" ],
	[ 'surrogate pair', '["\ud83d\ude00"]', "[\"\xF0\x9F\x98\x80\"]" ],
	[ 'UTF-8 of all lengths', "[\"a\xC3\xA9\xE2\x82\xAC\xF0\x9F\x98\x80\"]", "[\"a\xC3\xA9\xE2\x82\xAC\xF0\x9F\x98\x80\"]" ],
	[ 'last code point', "[\"\xF4\x8F\xBF\xBF\"]", "[\"\xF4\x8F\xBF\xBF\"]" ],
	[ 'U+0000', '["a\u0000b"]', "[\"a${fffd}b\"]" ],
	[ 'U+0000 in a name', '{"a\u0000b":1}', "{\"a${fffd}b\": 1}" ],
	[ 'U+0000 only', '["\u0000"]', "[\"$fffd\"]" ],
	[ 'escaped backslash before u0000', '["\\\\u0000"]', '["\\\\u0000"]' ],
	[ 'lone high surrogate', '["\ud83dx"]', "[\"${fffd}x\"]" ],
	[ 'lone low surrogate', '["\ude00"]', "[\"$fffd\"]" ],
	[ 'surrogates in wrong order', '["\ude00\ud83d"]', "[\"$fffd$fffd\"]" ],
	[ 'two high surrogates', '["\ud83d\ud83d\ude00"]', "[\"$fffd\xF0\x9F\x98\x80\"]" ],
	[ 'high surrogate and a letter', '["\ud83d\u0041"]', "[\"${fffd}A\"]" ],
	[ 'high surrogate at the end', '["\uDBFF"]', "[\"$fffd\"]" ],
	[ 'DEL', "[\"\x7F\"]", "[\"\x7F\"]" ],
	[ 'replacements and long numbers', '{"\u0000":9007199254740993,"\ud800":[1.0]}',
		"{\"$fffd\": [1.0]}" ],

	# what is no UTF-8: a mark for each part that could not become a character
	[ 'overlong slash, 2 bytes', "[\"\xC0\xAF\"]", "[\"$fffd$fffd\"]" ],
	[ 'overlong U+007F', "[\"\xC1\xBF\"]", "[\"$fffd$fffd\"]" ],
	[ 'overlong, 3 bytes', "[\"\xE0\x9F\xBF\"]", '["' . $fffd x 3 . '"]' ],
	[ 'overlong, 4 bytes', "[\"\xF0\x8F\xBF\xBF\"]", '["' . $fffd x 4 . '"]' ],
	[ 'encoded high surrogate', "[\"\xED\xA0\x80\"]", '["' . $fffd x 3 . '"]' ],
	[ 'encoded low surrogate', "[\"\xED\xBF\xBF\"]", '["' . $fffd x 3 . '"]' ],
	[ 'U+110000', "[\"\xF4\x90\x80\x80\"]", '["' . $fffd x 4 . '"]' ],
	[ 'first byte F5', "[\"\xF5\x80\x80\x80\"]", '["' . $fffd x 4 . '"]' ],
	[ '5 bytes', "[\"\xF8\x88\x80\x80\x80\"]", '["' . $fffd x 5 . '"]' ],
	[ 'byte FE', "[\"\xFE\"]", "[\"$fffd\"]" ],
	[ 'byte FF', "[\"\xFF\"]", "[\"$fffd\"]" ],
	[ 'mark of a number', "[\"\xFF1\",9007199254740993]", "[\"${fffd}1\", 9007199254740993]" ],
	[ 'lone continuation byte', "[\"a\x80\"]", "[\"a$fffd\"]" ],
	[ 'character without its last byte', "[\"\xE2\x82\"]", "[\"$fffd\"]" ],
	[ 'character without its last byte before an escape', "[\"\xF0\x9F\x98\\n\\u0000\"]", "[\"$fffd\\n$fffd\"]" ],
	[ 'characters cut short behind each other', "[\"\xE1\x80\xE2\xF0\x91\x92\xF1\xBFA\"]", '["' . $fffd x 4 . 'A"]' ],
	[ 'invalid UTF-8 in a name', "{\"\xC3(\":1}", "{\"$fffd(\": 1}" ],
	[ 'Latin-1', "{\"b\":1.50,\"a\":\"caf\xE9 au lait\",\"c\":\"\xC3\xA9\"}", "{\"a\": \"caf$fffd au lait\", \"b\": 1.50, \"c\": \"\xC3\xA9\"}" ],

	[ 'nesting at the cap', '[' x 100 . ']' x 100, '[' x 100 . ']' x 100 ],
	[ 'mixed nesting at the cap', '[{"a":' x 50 . '1' . '}]' x 50, '[{"a": ' x 50 . '1' . '}]' x 50 ],
	[ 'many containers beside each other', '[' . join(',', ('[]') x 300) . ']', '[' . join(', ', ('[]') x 300) . ']' ],
);

# Texts that are refused: name, text, what the error says.
my @refused = (
	[ 'empty text', '', qr/^The text is empty\.$/ ],
	[ 'white space only', " \n\t ", qr/^The text is empty\.$/ ],
	[ 'byte order mark only', "\xEF\xBB\xBF", qr/^The text is empty\.$/ ],
	[ 'half a byte order mark', "\xEF\xBB{}", qr/^Expected a value at byte offset 0, found: \?\?\{\}$/ ],
	[ 'second byte order mark', "{}\xEF\xBB\xBF", qr/^Expected the end of the text at byte offset 2,/ ],
	[ 'page of HTML', '<!DOCTYPE html><html><head>', qr/^Expected a value at byte offset 0, found: <!DOCTYPE html><html$/ ],
	[ 'trailing brace', '{"a":1}}', qr/^Expected the end of the text at byte offset 7, found: \}$/ ],
	[ 'second document', '{} {}', qr/^Expected the end of the text at byte offset 3, found: \{\}$/ ],
	[ 'trailing word', '[1] x', qr/^Expected the end of the text at byte offset 4, found: x$/ ],
	[ 'trailing zero byte', "[1]\0", qr/^Expected the end of the text at byte offset 3,/ ],
	[ 'zero byte between tokens', "[\0001]", qr/^Expected a value or "\]" at byte offset 1,/ ],
	[ 'other white space', "[\x0B1]", qr/^Expected a value or "\]" at byte offset 1,/ ],
	[ 'comma at the end of an array', '[1,]', qr/^Expected a value at byte offset 3, found: \]$/ ],
	[ 'comma at the end of an object', '{"a":1,}', qr/^Expected a member name at byte offset 7, found: \}$/ ],
	[ 'comma at the start', '[,1]', qr/^Expected a value or "\]" at byte offset 1,/ ],
	[ 'no comma in an array', '[1 2]', qr/^Expected "," or "\]" at byte offset 3, found: 2\]$/ ],
	[ 'no comma in an object', '{"a":1 "b":2}', qr/^Expected "," or "\}" at byte offset 7, found: "$/ ],
	[ 'no colon', '{"a" 1}', qr/^Expected ":" at byte offset 5, found: 1\}$/ ],
	[ 'colon in an array', '["a":1]', qr/^Expected "," or "\]" at byte offset 4,/ ],
	[ 'no value', '{"a":}', qr/^Expected a value at byte offset 5, found: \}$/ ],
	[ 'name without quotes', '{a:1}', qr/^Expected a member name or "\}" at byte offset 1, found: a:1\}$/ ],
	[ 'single quotes', q({'a':1}), qr/^Expected a member name or "\}" at byte offset 1, found: '$/ ],
	[ 'wrong bracket', '[1}', qr/^Expected "," or "\]" at byte offset 2, found: \}$/ ],
	[ 'only a closing bracket', ']', qr/^Expected a value at byte offset 0, found: \]$/ ],
	[ 'unknown word', '[nil]', qr/^Expected a value at byte offset 1, found: nil\]$/ ],
	[ 'word in capitals', '[True]', qr/^Expected a value or "\]" at byte offset 1, found: True\]$/ ],
	[ 'word goes on', '[nullx]', qr/^Expected "," or "\]" at byte offset 5, found: x\]$/ ],
	[ 'comment', '[1/*x*/]', qr/^Expected "," or "\]" at byte offset 2,/ ],

	[ 'NaN', '[NaN]', qr/^Expected a value or "\]" at byte offset 1,/ ],
	[ 'minus infinity', '[-Infinity]', qr/^A number is malformed at byte offset 1\.$/ ],
	[ 'plus sign', '[+1]', qr/^Expected a value or "\]" at byte offset 1,/ ],
	[ 'leading zero', '[01]', qr/^A number begins with a superfluous zero at byte offset 1\.$/ ],
	[ 'leading zero behind a minus', '[-00]', qr/^A number begins with a superfluous zero at byte offset 1\.$/ ],
	[ 'no digit before the point', '[.5]', qr/^Expected a value or "\]" at byte offset 1,/ ],
	[ 'no digit behind the point', '[5.]', qr/^A number is malformed at byte offset 1\.$/ ],
	[ 'no digit behind the exponent', '[5e+]', qr/^A number is malformed at byte offset 1\.$/ ],
	[ 'two points', '[1.2.3]', qr/^Expected "," or "\]" at byte offset 4,/ ],
	[ 'hexadecimal', '[0x10]', qr/^Expected "," or "\]" at byte offset 2,/ ],
	[ '1001 digits', '{"n":' . '7' x 1001 . '}', qr/^A number has more than 1000 digits at byte offset 5\.$/ ],
	[ 'exponent of 1001', '[1,1e1001]', qr/^A number has an exponent beyond 1000 at byte offset 3\.$/ ],
	[ 'exponent of many digits', '[1e-99999999999999999999]', qr/^A number has an exponent beyond 1000 at byte offset 1\.$/ ],

	[ 'control character', "[\"a\nb\"]", qr/^A string holds a control character at byte offset 3 \(byte 0x0a\)\.$/ ],
	[ 'zero byte in a string', "[\"a\0b\"]", qr/^A string holds a control character at byte offset 3 \(byte 0x00\)\.$/ ],
	[ 'control character in a name', "{\"\x1F\":1}", qr/^A string holds a control character at byte offset 2 \(byte 0x1f\)\.$/ ],
	[ 'unknown escape', '["\x41"]', qr/^A string holds an unknown escape at byte offset 3 \(byte 0x78\)\.$/ ],
	[ 'zero byte as escape', "[\"\\\0\"]", qr/^A string holds an unknown escape at byte offset 3 \(byte 0x00\)\.$/ ],
	[ 'three hexadecimal digits', '["\u12G4"]', qr/^A string holds \\u without four hexadecimal digits at byte offset 2\.$/ ],
	[ 'escape cut by the quote', '["\u12"]', qr/^A string holds \\u without four hexadecimal digits at byte offset 2\.$/ ],
	[ 'bad escape behind a high surrogate', '["\ud83d\uZZZZ"]', qr/^A string holds \\u without four hexadecimal digits at byte offset 8\.$/ ],

	[ 'UTF-16', "\xFF\xFE[\0]\0", qr/^Expected a value at byte offset 0,/ ],

	[ 'cut in a character', "[\"\xE2\x82", qr/^The text ends within a string after 4 bytes\.$/ ],
	[ 'cut in a string', '["abc', qr/^The text ends within a string after 5 bytes\.$/ ],
	[ 'cut in an escape', '["\\', qr/^The text ends within a string after 3 bytes\.$/ ],
	[ 'cut in \u', '["\u00', qr/^The text ends within a string after 6 bytes\.$/ ],
	[ 'cut in a number', '[-', qr/^The text ends within a number after 2 bytes\.$/ ],
	[ 'cut in a word', '[tru', qr/^The text ends within a value after 4 bytes\.$/ ],
	[ 'cut in an array', '[1, ', qr/^The text ends within an array after 4 bytes\.$/ ],
	[ 'cut in an object', '{"a":1', qr/^The text ends within an object after 6 bytes\.$/ ],

	[ 'nesting beyond the cap', '[' x 101 . ']' x 101,
		qr/^Arrays and objects are nested deeper than databricks\.json_max_depth \(100\) at byte offset 100\.$/ ],
	[ 'endless nesting', '{"a":' x 200_000, qr/ deeper than .* at byte offset 500\.$/ ],
);

# Read and refuse
{
	my @got = values_of(
		'SELECT unit.json_try(t) FROM (VALUES '
		  . join(',', map { '(' . bytes($_->[1]) . ')' } @accepted, @refused)
		  . ') AS texts(t)');
	is(scalar @got, @accepted + @refused, 'an answer to each text');
	foreach my $case (@accepted)
	{
		is(shift @got, undef, "$case->[0]: accepted");
	}
	foreach my $case (@refused)
	{
		like(shift(@got) // '(accepted)', $case->[2], "$case->[0]: refused");
	}

	@got = values_of(
		'SELECT unit.json_parse(t) FROM (VALUES '
		  . join(',', map { '(' . bytes($_->[1]) . ')' } @accepted)
		  . ') AS texts(t)');
	is(shift @got, $_->[2], "$_->[0]: value") foreach @accepted;

	@got = values_of(
		'SELECT unit.json_serialize(t)::jsonb FROM (VALUES '
		  . join(',', map { '(' . bytes($_->[1]) . ')' } @accepted)
		  . ') AS texts(t)');
	is(shift @got, $_->[2], "$_->[0]: text") foreach @accepted;
}

# Only a part is read: text, what is left of the objects in "r" with members a and b.c
{
	my @parts = (
		[ '{"r":[{"a":1,"x":2}]}', '{"r":[{"a":1}]}' ],
		[ '{"r":[{"x":2,"a":1}]}', '{"r":[{"a":1}]}' ],
		[ '{"r":[{"x":2}]}', '{"r":[{}]}' ],
		[ '{"r":[{"x":2,"y":3}]}', '{"r":[{}]}' ],
		[ '{"r":[{"x":2,"a":1,"y":3,"z":4,"b":5,"w":6,"v":7}]}', '{"r":[{"a":1,"b":5}]}' ],
		[ '{"r":[ { "x" : 2 , "a" : 1 , "y" : 3 } , {"y":[{"a":1}]} ] }', '{"r":[{"a":1},{}]}' ],
		[ '{"r":[{"a":{"x":1},"b":{"c":1,"x":2},"x":{"a":1}}]}', '{"r":[{"a":{"x":1},"b":{"c":1,"x":2}}]}' ],
		[ '{"r":[[{"x":1}],{"a":[{"x":1}]},"x",null]}', '{"r":[[{"x":1}],{"a":[{"x":1}]},"x",null]}' ],
		[ '{"r":[{"a":1,"x":2,"a":3}]}', '{"r":[{"a":1,"a":3}]}' ],
		[ '{"r":[{"x":1}],"q":[{"x":1}],"r":[{"x":2,"a":1}]}', '{"r":[{}],"q":[{"x":1}],"r":[{"a":1}]}' ],
		[ '{"r":{"x":[{"x":1}]}}', '{"r":{"x":[{"x":1}]}}' ],
		[ '{"r":1,"x":[{"x":1}]}', '{"r":1,"x":[{"x":1}]}' ],
		[ '[{"r":[{"x":1}]}]', '[{"r":[{"x":1}]}]' ],
		[ '{"rr":[{"x":1}],"R":[{"x":1}]}', '{"rr":[{"x":1}],"R":[{"x":1}]}' ],
		[ '{"r":[{"ab":1,"":2,"b.c":3,"bb":4,"c":5}]}', '{"r":[{}]}' ],
		# an escape may stand for anything
		[ '{"r":[{"\u0061":1,"\u0078":2,"x":3}]}', '{"r":[{"a":1,"x":2}]}' ],
		# numbers that cJSON cannot hold and strings that nobody can, kept and left out
		[ '{"r":[{"a":9007199254740993,"x":9007199254740993,"b":1.50}],"x":1.0}', '{"r":[{"a":9007199254740993,"b":1.50}],"x":1.0}' ],
		[ '{"r":[{"x":1.5,"a":"\u0000","y":"\ud800"}]}', "{\"r\":[{\"a\":\"$fffd\"}]}" ],
		[ '{"r":[{"x":1.5}]}', '{"r":[{}]}' ],
	);
	my @got = values_of('SELECT unit.json_part(t, \'r\', \'{a,b.c,b.d}\') FROM (VALUES '
		  . join(',', map { '(' . bytes($_->[0]) . ')' } @parts) . ') AS texts(t)');
	is(shift @got, $_->[1], "part of $_->[0]") foreach @parts;

	# Whatever is left out is checked all the same, with the same words.
	my @texts = map { [ $_->[0], "{\"r\":[{\"a\":1,\"x\":$_->[1]}]}" ] } @refused;
	@got = values_of('SELECT unit.json_part(t, \'r\', \'{a}\') FROM (VALUES '
		  . join(',', map { '(' . bytes($_->[1]) . ')' } @texts) . ') AS texts(t)');
	my @whole = values_of('SELECT unit.json_try(t) FROM (VALUES '
		  . join(',', map { '(' . bytes($_->[1]) . ')' } @texts) . ') AS texts(t)');
	foreach my $text (@texts)
	{
		my ($part, $error) = (shift @got, shift @whole);
		is($part, $error // '{"r":[{"a":1}]}', "$text->[0] where it is left out");
	}

	# Random rows: the same text without the members, as we write it.
	my @values = grep { !/^\xEF\xBB\xBF/ && length($_) < 60 } map { $_->[1] } @accepted;
	my (@rows, @left);
	srand($ENV{DATABRICKS_TEST_SEED} // 7);
	foreach my $row (1 .. 400)
	{
		my (@members, @kept);
		foreach my $member (1 .. rand(7))
		{
			my $name = (qw(a x b y r aa))[ rand 6 ];
			my $text = "\"$name\"" . ' ' x rand(2) . ':' . ' ' x rand(2) . $values[ rand @values ];
			push @members, $text;
			push @kept, $text if $name =~ /^[ab]$/;
		}
		push @rows, '{' . join(' ' x rand(2) . ',' . ' ' x rand(2), @members) . '}';
		push @left, '{' . join(',', @kept) . '}';
	}
	is( value_of('unit.json_part(' . bytes('{"n":1,"r":[' . join(',', @rows) . ']}') . ", 'r', '{a,b}')"),
		value_of('unit.json_serialize(' . bytes('{"n":1,"r":[' . join(',', @left) . ']}') . ')'),
		'400 random rows');
}

# How an error looks to a user
{
	my ($rc, $out, $err) = $node->psql('postgres',
		"\\set VERBOSITY verbose\nSELECT unit.json_parse(" . bytes('[1') . ')');
	like($err, qr/ERROR:  HV00M: could not read the test's text as JSON\n/, 'SQLSTATE and message');
	like($err, qr/DETAIL:  The text ends within an array after 2 bytes\.\n/, 'detail');

	# An answer of the token endpoint must not get into the log this way.
	my @texts = map { bytes($_) } (
		'{"access_token" "dapiSECRET"}', '{"access_token":"dapiSECRET}',
		'{"access_token":"dapiSECRET" x', "{'access_token':'dapiSECRET'}",
		"{\"access_token\":\"dapiSECRET\x01\"}", '{"access_token":"dapiSECRET\q"}',
		'{"dapiSECRET"}', '{"a":"dapiSECRET"]', '["dapiSECRET":1]');
	my @shown = values_of('SELECT unit.json_try(t) FROM (VALUES ('
		  . join('),(', @texts) . ')) AS texts(t)');
	is(scalar(grep { defined } @shown), scalar(@texts), 'texts with a secret are refused');
	is(scalar(grep { /SECRET/ } @shown), 0, 'no string is shown in an error');
}

# Integers: document, path, value
my @integers = (
	[ '9223372036854775807', '', '9223372036854775807' ],
	[ '-9223372036854775808', '', '-9223372036854775808' ],
	[ '9223372036854775808', '', undef ],
	[ '-9223372036854775809', '', undef ],
	[ '18446744073709551616', '', undef ],
	[ '92233720368547758070', '', undef ],
	[ '9007199254740993', '', '9007199254740993' ],
	[ '-9007199254740993', '', '-9007199254740993' ],
	[ '999999999999999', '', '999999999999999' ],
	[ '-1', '', '-1' ],
	[ '0', '', '0' ],
	[ '-0', '', '0' ],
	[ '5.0', '', '5' ],
	[ '-9223372036854775808.00', '', '-9223372036854775808' ],
	[ '5.5', '', undef ],
	[ '5e0', '', '5' ],
	[ '1e3', '', '1000' ],
	[ '-1.5E+3', '', '-1500' ],
	[ '1.796025868842E12', '', '1796025868842' ],
	[ '9.223372036854775807e18', '', '9223372036854775807' ],
	[ '9.223372036854775808e18', '', undef ],
	[ '-9.223372036854775808e18', '', '-9223372036854775808' ],
	[ '1e19', '', undef ],
	[ '0e1000', '', '0' ],
	[ '0.00e-3', '', '0' ],
	[ '5000e-3', '', '5' ],
	[ '5500e-3', '', undef ],
	[ '1e-1000', '', undef ],
	[ '"1e3"', '', '1000' ],
	[ '"1e3x"', '', undef ],
	[ '"1e"', '', undef ],
	[ '"1e 3"', '', undef ],
	[ '"1e+-3"', '', undef ],
	[ '"0e999999999999"', '', undef ],
	[ '"9223372036854775807"', '', '9223372036854775807' ],
	[ '"-9223372036854775808"', '', '-9223372036854775808' ],
	[ '"9223372036854775808"', '', undef ],
	[ '"12"', '', '12' ],
	[ '"012"', '', undef ],
	[ '" 12"', '', undef ],
	[ '"12 "', '', undef ],
	[ '"+12"', '', undef ],
	[ '"5.0"', '', '5' ],
	[ '"5.5"', '', undef ],
	[ '"-"', '', undef ],
	[ '""', '', undef ],
	[ '"12\u0000"', '', undef ],
	[ 'true', '', undef ],
	[ 'null', '', undef ],
	[ '[1]', '', undef ],
	[ '{"a":{"b":{"c":9007199254740993}}}', 'a.b.c', '9007199254740993' ],
	[ '{"a":{"b":{"c":9007199254740993}}}', 'a.b.d', undef ],
	[ '{"a":{"b":{"c":9007199254740993}}}', 'a.b.c.d', undef ],
	[ '{"a":1,"a":2}', 'a', '2' ],
	[ '{"ab":1,"a":2,"abc":3}', 'ab', '1' ],
	[ '{"A":1}', 'a', undef ],
);
{
	my @got = values_of(
		'SELECT unit.json_int64(t, p) FROM (VALUES '
		  . join(',', map { '(' . bytes($_->[0]) . ", '$_->[1]')" } @integers)
		  . ') AS texts(t, p)');
	foreach my $case (@integers)
	{
		is(shift @got, $case->[2], "integer of $case->[0], path \"$case->[1]\"");
	}
}

# The other readers: function, document, path, result
my @read = (
	[ 'type', 'null', '', 'null' ],
	[ 'type', 'false', '', 'bool' ],
	[ 'type', '1', '', 'number' ],
	[ 'type', '1.5', '', 'number' ],
	[ 'type', '"1.5"', '', 'string' ],
	[ 'type', '[]', '', 'array' ],
	[ 'type', '{}', '', 'object' ],
	[ 'type', '{}', 'a', 'absent' ],
	[ 'type', '[1]', 'a', 'absent' ],
	[ 'bool', 'true', '', 'true' ],
	[ 'bool', '{"a":false}', 'a', 'false' ],
	[ 'bool', '"true"', '', undef ],
	[ 'bool', '1', '', undef ],
	[ 'bool', '{}', 'a', undef ],
	[ 'string', '"x\ny"', '', "x\ny" ],
	[ 'string', '""', '', '' ],
	[ 'string', '1.5', '', undef ],
	[ 'string', '1', '', undef ],
	[ 'string', 'null', '', undef ],
	[ 'string', '{"a.b":"x"}', 'a.b', undef ],
	[ 'text', '"x"', '', 'x' ],
	[ 'text', '17', '', '17' ],
	[ 'text', '1.10', '', '1.10' ],
	[ 'text', '1E3', '', '1E3' ],
	[ 'text', '-0', '', '-0' ],
	[ 'text', 'true', '', 'true' ],
	[ 'text', 'null', '', undef ],
	[ 'text', '{}', 'a', undef ],
	[ 'text', '[1, 2.50, {"a": "\""}]', '', '[1,2.50,{"a":"\""}]' ],
	[ 'length', '[1,[2,3],{}]', '', '3' ],
	[ 'length', '{"a":1,"b":2}', '', '2' ],
	[ 'length', '[]', '', '0' ],
	[ 'length', '"abc"', '', '0' ],
	[ 'length', '{}', 'a', '0' ],
	[ 'walk', '[1,"a",null,1.0]', '', '1 a (null) 1.0 ' ],
	[ 'walk', '{"a":1,"b":{"c":[]},"a":2}', '', 'a=1 b={"c":[]} a=2 ' ],
	[ 'walk', '{"a":{"x":1}}', 'a', 'x=1 ' ],
	[ 'walk', '"abc"', '', '' ],
	[ 'walk', '{}', 'a', '' ],
);
{
	my @got = values_of(
		join(' UNION ALL ', map { "SELECT unit.json_$_->[0](" . bytes($_->[1]) . ", '$_->[2]')::text" } @read));
	foreach my $case (@read)
	{
		is(shift @got, $case->[3], "$case->[0] of $case->[1], path \"$case->[2]\"");
	}
}

# Merging pages
{
	my @merged = (
		[ '{"t":[1,2],"x":0}', '{"t":[3]}', '{"t":[4,5]}', '{"t":[1,2,3,4,5],"x":0} {"t":[]} {"t":[]}' ],
		[ '{"x":0}', '{"t":[1]}', '{"y":1,"t":[2,3],"z":2}', '{"x":0,"t":[1,2,3]} {} {"y":1,"t":[],"z":2}' ],
		[ '{"t":[]}', '{"t":[]}', '{"t":[1.5,{"a":[]}]}', '{"t":[1.5,{"a":[]}]} {"t":[]} {"t":[]}' ],
		[ '{"t":null}', '{"t":null}', '{"t":[1]}', '{"t":[1]} {"t":null} {}' ],
		[ '{}', '{}', '{"t":"no array"}', '{} {} {"t":"no array"}' ],
		[ '{}', '{"a":1,"t":[1]}', '{"t":[2]}', '{"t":[1,2]} {"a":1} {"t":[]}' ],
		[ '[]', '{"t":[1]}', '[1]', '[] {"t":[1]} [1]' ],
	);
	foreach my $case (@merged)
	{
		my ($base, $second, $third, $result) = @$case;
		is( value_of('unit.json_append(' . join(',', bytes($base), bytes($second), bytes($third)) . ", 't')"),
			$result, "append: $base, $second, $third");
	}

	my @removed = (
		[ '{"a":1,"b":2,"c":3}', 'a', 'b', '{"c":3}' ],
		[ '{"a":1,"b":2,"c":3}', 'c', 'b', '{"a":1}' ],
		[ '{"a":1,"b":2,"c":3}', 'b', 'x', '{"a":1,"c":3}' ],
		[ '{"a":1,"b":2,"a":3}', 'a', 'b', '{}' ],
		[ '["a"]', 'a', 'b', '["a"]' ],
		[ '"a"', 'a', 'b', '"a"' ],
	);
	foreach my $case (@removed)
	{
		my ($text, $one, $other, $result) = @$case;
		is(value_of('unit.json_remove(' . bytes($text) . ", '$one', '$other')"),
			$result, "remove $one and $other from $text");
	}
}

# Large documents
{
	is( value_of(
			q{md5(unit.json_string(convert_to('{"s":"' || repeat('0123456789', 1000000) || '"}', 'UTF8'), 's'))
			  = md5(repeat('0123456789', 1000000))}),
		'true', 'a string of 10 MB');
	is( value_of(
			q{unit.json_parse(convert_to('"' || repeat('\u0000', 100000) || '"', 'UTF8')) #>> '{}' = repeat(U&'\FFFD', 100000)}),
		'true', 'a hundred thousand replaced characters');
	foreach my $number ('n', 'n + 9007199254740993', 'n * -1.10')
	{
		is( value_of(
				"(SELECT unit.json_parse(convert_to(jsonb_agg(x)::text, 'UTF8')) = jsonb_agg(x)
				  FROM (SELECT $number AS x FROM generate_series(1, 100000) AS n) AS q)"),
			'true', "an array of 100000 numbers ($number)");
	}
	is( value_of(
			q{(SELECT unit.json_length(convert_to(jsonb_object_agg('k' || n, n)::text, 'UTF8'), '') FROM generate_series(1, 100000) AS n)}),
		'100000', 'an object of 100000 members');
	my $begun = time;
	is(value_of(q{unit.json_remove(convert_to('{' || repeat('"a":1,', 300000) || '"b":2}', 'UTF8'), 'a', 'x')}),
		'{"b":2}', 'one member 300000 times, removed');
	cmp_ok(time - $begun, '<', 20, '... before long');
}

# Depth: the cap is a setting, and the highest one is safe with a small stack.
{
	my $deep = sub {
		my ($cap, $depth, $stack) = @_;
		my ($rc, $out, $err) = $node->psql('postgres',
			"SET max_stack_depth = '$stack'; SET databricks_unit.json_max_depth = $cap;
			 SELECT length(unit.json_parse(convert_to(repeat('{\"a\":', $depth) || '9007199254740993' || repeat('}', $depth), 'UTF8'))::text) > 0");
		return $rc == 0 ? $out : $err;
	};
	is($deep->(1, 1, '2MB'), 't', 'depth 1 with a cap of 1');
	like($deep->(1, 2, '2MB'), qr/deeper than databricks\.json_max_depth \(1\) at byte offset 5/, 'depth 2 with a cap of 1');
	is($deep->(900, 900, '2MB'), 't', 'depth 900 with a cap of 900');
	like($deep->(900, 901, '2MB'), qr/json_max_depth \(900\)/, 'depth 901 with a cap of 900');
	like($deep->(900, 900, '100kB'), qr/^t$|stack depth limit exceeded/, 'depth 900 with a small stack');
}

# Real answers: all of them are read as the server reads them.
my $here = dirname(File::Spec->rel2abs(__FILE__));
my $data = "$here/../unit/data";
my @samples = glob("$data/*.json");
ok(@samples >= 5, 'there are samples in test/unit/data');
{
	# In a checkout with the notes on the API beside it, those too.
	my $notes = "$here/../../../shared/api/examples";
	my @more = -d $notes ? (glob("$notes/*.json"), glob("$notes/*/*.json")) : ();
	note(@more
		? scalar(@more) . " examples of the API beside the tree are read too"
		: "no examples of the API beside the tree: only test/unit/data is read");
	ok(@more > 0, 'examples beside the tree') if -d $notes;

	my $differing = '';
	foreach my $file (@samples, @more)
	{
		my $text = bytes(slurp_bytes($file));
		my $same = value_of("unit.json_parse($text) = convert_from($text, 'UTF8')::jsonb
			AND unit.json_serialize($text)::jsonb::text = convert_from($text, 'UTF8')::jsonb::text");
		$differing .= " $file" if $same ne 'true';
	}
	is($differing, '', 'samples are read as the server reads them');
}

# A text cut anywhere is refused, and the error says where it ends.
my $sample = slurp_bytes("$data/runs-get-unknown-values.json");
$sample =~ s/\s+\z//;
{
	my $text = bytes($sample);
	is( value_of(
			"(SELECT string_agg(n || ': ' || coalesce(e, '(accepted)'), ', ' ORDER BY n)
			  FROM (SELECT n, unit.json_try(substring($text FROM 1 FOR n)) AS e
			        FROM generate_series(0, octet_length($text) - 1) AS n) AS cut
			  WHERE e IS DISTINCT FROM CASE WHEN n = 0 THEN 'The text is empty.' END
			    AND e IS NULL OR n > 0 AND e !~ ('^The text ends within an? [a-z]+ after ' || n || ' bytes\\.\$'))"),
		undef, 'the sample cut after each byte is refused');
	is(value_of("unit.json_try($text)"), undef, 'the whole sample is accepted');
}

# Damaged texts: a second opinion on each of some thousand.
{
	$node->safe_psql('postgres', <<'SQL');
CREATE FUNCTION server_reads(b bytea) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
	RETURN convert_from(b, 'UTF8')::jsonb::text;
EXCEPTION WHEN others THEN
	RETURN 'refused';
END $$;

CREATE FUNCTION is_utf8(b bytea) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
	RETURN convert_from(b, 'UTF8') IS NOT NULL;
EXCEPTION WHEN character_not_in_repertoire THEN
	RETURN false;
END $$;

-- Any other error than the one meant for it is a failure.
CREATE FUNCTION unit_reads(b bytea) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
	RETURN unit.json_parse(b)::text;
EXCEPTION WHEN fdw_unable_to_create_reply THEN
	RETURN 'refused';
END $$;

CREATE FUNCTION damage(b bytea) RETURNS bytea LANGUAGE plpgsql AS $$
DECLARE
	bad CONSTANT bytea := '\x0022275c2c3a5b5d7b7d2d2b2e65453031397520090aed80a0c0e2f0f4ff7f2f61';
	at int;
BEGIN
	FOR i IN 1 .. 1 + floor(random() * 3) LOOP
		at := floor(random() * octet_length(b));
		CASE floor(random() * 5)
			WHEN 0 THEN		-- one bit
				b := set_bit(b, at * 8 + floor(random() * 8)::int, floor(random() * 2)::int);
			WHEN 1 THEN		-- any byte
				b := set_byte(b, at, floor(random() * 256)::int);
			WHEN 2 THEN		-- a byte with a meaning
				b := set_byte(b, at, get_byte(bad, floor(random() * octet_length(bad))::int));
			WHEN 3 THEN		-- a piece missing
				b := substring(b FROM 1 FOR at) || substring(b FROM at + 2 + floor(random() * 4)::int);
			ELSE			-- a piece put in
				b := substring(b FROM 1 FOR at)
					|| convert_to((ARRAY['\u0000', '\ud800', '\udc00', '\ud83d\ude00', '12345678901234567',
						'1.50', '1e5', '-0', '[[', '"', ',', 'null'])[1 + floor(random() * 12)], 'UTF8')
					|| substring(b FROM at + 1);
		END CASE;
	END LOOP;
	RETURN b;
END $$;

-- What the two readers do not agree about. Ours refuses absurd numbers, and
-- repairs what no text can hold, which the server refuses.
CREATE FUNCTION disagreements(sample bytea, rounds int, OUT accepted int, OUT refused int, OUT differing text)
LANGUAGE plpgsql AS $$
DECLARE
	damaged bytea;
	server text;
	ours text;
BEGIN
	accepted := 0;
	refused := 0;
	differing := '';
	FOR i IN 1 .. rounds LOOP
		damaged := damage(sample);
		server := server_reads(damaged);
		ours := unit_reads(damaged);
		IF ours = 'refused' THEN
			refused := refused + 1;
		ELSE
			accepted := accepted + 1;
		END IF;
		CONTINUE WHEN ours = server;
		CONTINUE WHEN ours = 'refused' AND unit.json_try(damaged) ~ 'exponent beyond 1000';
		CONTINUE WHEN server = 'refused'
			AND (position('\\u'::bytea IN damaged) > 0 OR NOT is_utf8(damaged))
			AND unit.json_serialize(damaged) LIKE '%' || U&'\FFFD' || '%';
		differing := differing || encode(damaged, 'escape') || E'\n';
	END LOOP;
END $$;
SQL

	my @small = (
		'{"a":"\u0000\ud83d\ude00x","n":[1,-0,1.10,9007199254740993,1e3],"b":true,"c":{"d":null},"e":"' . "\xE2\x82\xAC" . '"}',
		'[[[["\ud800\udc00\udc00\ud800",123456789012345,1234567890123456]]],{"":{}},[],false]');
	my %rounds = ($sample => 2000, map { $_ => 4000 } @small);
	my ($accepted, $refused) = (0, 0);
	foreach my $text (sort keys %rounds)
	{
		# The same texts each time, unless somebody looks for more.
		my $seed = defined $ENV{JSON_TEST_SEED} ? $ENV{JSON_TEST_SEED} + 0 : 0.42;
		my $got = $node->safe_psql('postgres',
			"SELECT setseed($seed) \\g /dev/null\n"
			  . "SELECT accepted, refused, encode(convert_to(differing, 'UTF8'), 'hex') FROM disagreements("
			  . bytes($text) . ", $rounds{$text})");
		my ($a, $r, $differing) = split(/\|/, $got);
		$accepted += $a;
		$refused += $r;
		is(pack('H*', $differing // ''), '', "$rounds{$text} damaged texts (seed $seed)");
	}
	ok($accepted > 100 && $refused > 100, "damaged texts: $accepted accepted, $refused refused");
}

# Bytes that are no UTF-8: Python marks the same parts of them.
{
	srand(42);
	my @edges = map { chr } 0x20, 0x7f, 0x80, 0x8f, 0x90, 0x9f, 0xa0, 0xbf, 0xc0, 0xc1, 0xc2, 0xdf, 0xe0, 0xe1, 0xec .. 0xef, 0xf0, 0xf1, 0xf3 .. 0xf5, 0xff;
	my @texts = map { join('', map { $edges[ rand @edges ] } 1 .. 12) } 1 .. 3000;
	my ($in, $out) = (join("\n", map { unpack('H*', $_) } @texts), '');
	my $program = 'import sys; [print(bytes.fromhex(l).decode("utf-8", "replace").encode().hex()) for l in sys.stdin.read().split()]';

	IPC::Run::run([ $ENV{DATABRICKS_TEST_PYTHON} || 'python3', '-c', $program ], '<', \$in, '>', \$out) or die 'python failed';
	my @got = split(/,/, value_of("(SELECT string_agg(encode(convert_to(unit.json_string('\\x7b2261223a22' || t || '\\x227d', 'a'), 'UTF8'), 'hex'), ',' ORDER BY n)
		FROM (VALUES " . join(',', map { "($_," . bytes($texts[$_]) . ')' } 0 .. $#texts) . ') AS texts(n, t))'));
	my @expected = split(/\n/, $out);
	is(join("\n", map { unpack('H*', $texts[$_]) . ": $got[$_]" } grep { $got[$_] ne $expected[$_] } 0 .. $#texts), '',
		scalar(@expected) . ' texts of bytes around the bounds');
}

# A database of another encoding: what it has is kept, what it lacks is marked.
{
	$node->safe_psql('postgres', q{CREATE DATABASE latin1 TEMPLATE template0 ENCODING 'LATIN1' LOCALE 'C'});
	$node->safe_psql('latin1', 'CREATE EXTENSION databricks_unit');
	my $text = bytes("{\"caf\xC3\xA9\":\"\xC3\xBF1\xE2\x82\xAC\xF0\x9F\x98\x80x\\u0000\xFF\xE2\x82\\u00e9\",\"n\":9007199254740993}");
	is( value_of("unit.json_parse($text)", 'latin1'),
		"{\"n\": 9007199254740993, \"caf\xC3\xA9\": \"\xC3\xBF1??x???\xC3\xA9\"}",
		'strings in the encoding of the database');
	is(value_of("unit.json_type($text, U&'caf\\00e9')", 'latin1'), 'string', 'a string that begins like the mark of a number');

	$node->safe_psql('postgres', q{CREATE DATABASE ascii TEMPLATE template0 ENCODING 'SQL_ASCII' LOCALE 'C'});
	$node->safe_psql('ascii', 'CREATE EXTENSION databricks_unit');
	is( $node->safe_psql('ascii', "SELECT encode(unit.json_string($text, E'caf\\303\\251')::bytea, 'hex')"),
		unpack('H*', "\xC3\xBF1\xE2\x82\xAC\xF0\x9F\x98\x80x$fffd$fffd$fffd\xC3\xA9"),
		'SQL_ASCII takes the bytes as they are');
}

# Speed: a page of 25 runs with tasks, about 100 kB. The limits only catch what
# is wrong by an order of magnitude.
{
	my $page = value_of(
		"(SELECT jsonb_pretty(jsonb_build_object('runs', jsonb_agg(run), 'has_more', true))
		  FROM (SELECT run FROM generate_series(1, 25),
		        jsonb_array_elements(convert_from("
		  . bytes(slurp_bytes("$data/runs-list-expand-tasks-page1.json"))
		  . ", 'UTF8')::jsonb -> 'runs') AS run LIMIT 25) AS q)");
	my $parse = value_of('unit.json_timing(' . bytes($page) . ', 200, false)');
	my $convert = value_of('unit.json_timing(' . bytes($page) . ', 200, true)');
	note(sprintf('page of %d bytes: parsed in %.0f us, parsed and converted to jsonb in %.0f us',
			length($page), $parse, $convert));
	cmp_ok($parse, '<', 20_000, 'time to parse a page');
	cmp_ok($convert, '<', 50_000, 'time to parse a page and make it jsonb');
}

$node->stop;

# What the server wrote shows crashes that a retry would hide.
my $log = slurp_file($node->logfile);
unlike($log, qr/PANIC|terminated by signal|TRAP:/, 'no crash');

done_testing();
