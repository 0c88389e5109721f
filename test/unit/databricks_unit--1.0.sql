\echo Use "CREATE EXTENSION databricks_unit" to load this file. \quit

CREATE FUNCTION unit.json_parse(json_text pg_catalog.bytea) RETURNS pg_catalog.jsonb
	AS 'MODULE_PATHNAME', 'unit_json_parse' LANGUAGE c STRICT;
CREATE FUNCTION unit.json_try(json_text pg_catalog.bytea) RETURNS pg_catalog.text
	AS 'MODULE_PATHNAME', 'unit_json_try' LANGUAGE c STRICT;
CREATE FUNCTION unit.json_serialize(json_text pg_catalog.bytea) RETURNS pg_catalog.text
	AS 'MODULE_PATHNAME', 'unit_json_serialize' LANGUAGE c STRICT;
CREATE FUNCTION unit.json_part(json_text pg_catalog.bytea, array_name pg_catalog.text, paths pg_catalog.text[]) RETURNS pg_catalog.text
	AS 'MODULE_PATHNAME', 'unit_json_part' LANGUAGE c STRICT;
CREATE FUNCTION unit.json_type(json_text pg_catalog.bytea, path pg_catalog.text) RETURNS pg_catalog.text
	AS 'MODULE_PATHNAME', 'unit_json_type' LANGUAGE c STRICT;
CREATE FUNCTION unit.json_int64(json_text pg_catalog.bytea, path pg_catalog.text) RETURNS pg_catalog.int8
	AS 'MODULE_PATHNAME', 'unit_json_int64' LANGUAGE c STRICT;
CREATE FUNCTION unit.json_bool(json_text pg_catalog.bytea, path pg_catalog.text) RETURNS pg_catalog.bool
	AS 'MODULE_PATHNAME', 'unit_json_bool' LANGUAGE c STRICT;
CREATE FUNCTION unit.json_string(json_text pg_catalog.bytea, path pg_catalog.text) RETURNS pg_catalog.text
	AS 'MODULE_PATHNAME', 'unit_json_string' LANGUAGE c STRICT;
CREATE FUNCTION unit.json_text(json_text pg_catalog.bytea, path pg_catalog.text) RETURNS pg_catalog.text
	AS 'MODULE_PATHNAME', 'unit_json_text' LANGUAGE c STRICT;
CREATE FUNCTION unit.json_length(json_text pg_catalog.bytea, path pg_catalog.text) RETURNS pg_catalog.int4
	AS 'MODULE_PATHNAME', 'unit_json_length' LANGUAGE c STRICT;
CREATE FUNCTION unit.json_walk(json_text pg_catalog.bytea, path pg_catalog.text) RETURNS pg_catalog.text
	AS 'MODULE_PATHNAME', 'unit_json_walk' LANGUAGE c STRICT;
CREATE FUNCTION unit.json_append(base pg_catalog.bytea, second pg_catalog.bytea, third pg_catalog.bytea, name pg_catalog.text) RETURNS pg_catalog.text
	AS 'MODULE_PATHNAME', 'unit_json_append' LANGUAGE c STRICT;
CREATE FUNCTION unit.json_remove(json_text pg_catalog.bytea, name pg_catalog.text, other_name pg_catalog.text) RETURNS pg_catalog.text
	AS 'MODULE_PATHNAME', 'unit_json_remove' LANGUAGE c STRICT;
CREATE FUNCTION unit.json_timing(json_text pg_catalog.bytea, rounds pg_catalog.int4, convert pg_catalog.bool) RETURNS pg_catalog.float8
	AS 'MODULE_PATHNAME', 'unit_json_timing' LANGUAGE c STRICT;
