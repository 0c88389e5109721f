/*
 * profile.c
 *	  Profiles of the vendor's tools: sections of a file .databrickscfg.
 *
 * Separate because it is about text alone: it knows neither what keys mean nor
 * who may read the file.  The vendor's tools are written in many languages and
 * each reads the file a little differently; what any of them writes or accepts
 * is accepted here: "=" and ":", comments with "#" and ";" on lines of their
 * own and, behind a blank, at the end of others, quotes around a value, a byte
 * order mark, lines ending as on Windows.  A section that occurs twice is one
 * section.  No section inherits from another.
 */
#include "postgres.h"

#include "lib/stringinfo.h"

#include "auth/profile.h"

#define DEFAULT_PROFILE	 "DEFAULT"
#define SETTINGS_SECTION "__settings__"
#define DEFAULT_KEY		 "default_profile"

typedef struct Section
{
	char *name;
	List *entries; /* of DbxProfileEntry */
} Section;

/* A copy of a piece of text without the blanks around it. */
static char *
trimmed(const char *text, Size length)
{
	while (length > 0 && strchr(" \t\r", *text) != NULL)
	{
		text++;
		length--;
	}
	while (length > 0 && strchr(" \t\r", text[length - 1]) != NULL)
		length--;
	return pnstrdup(text, length);
}

static Section *
find_section(List *sections, const char *name)
{
	ListCell *cell;

	foreach(cell, sections)
	{
		Section *section = lfirst(cell);

		if (strcmp(section->name, name) == 0)
			return section;
	}
	return NULL;
}

static Section *
open_section(List **sections, char *name)
{
	Section *section = find_section(*sections, name);

	if (section == NULL)
	{
		section = palloc0(sizeof(Section));
		section->name = name;
		*sections = lappend(*sections, section);
	}
	return section;
}

/* The value behind "=": without quotes, or without the comment at its end. */
static char *
read_value(const char *text)
{
	const char *at;
	const char *end;

	text += strspn(text, " \t");
	if (*text == '"' || *text == '\'')
	{
		end = strchr(text + 1, *text);
		if (end != NULL)
		{
			const char *rest = end + 1 + strspn(end + 1, " \t\r");

			if (*rest == '\0' || *rest == '#' || *rest == ';')
				return pnstrdup(text + 1, end - text - 1);
		}
	}
	end = text + strlen(text);
	for (at = text; *at; at++)
	{
		if ((*at == '#' || *at == ';') &&
			(at == text || at[-1] == ' ' || at[-1] == '\t'))
		{
			end = at;
			break;
		}
	}
	return trimmed(text, end - text);
}

/* Take one line into its section; false if it is none of what there can be. */
static bool
take_line(const char *line, List **sections, Section **section)
{
	DbxProfileEntry *entry;
	const char		*sign;
	char			*at;

	line += strspn(line, " \t\r");
	if (*line == '\0' || *line == '#' || *line == ';')
		return true;
	if (*line == '[')
	{
		const char *end = strchr(line, ']');

		if (end == NULL)
			return false;
		*section = open_section(sections, trimmed(line + 1, end - line - 1));
		return true;
	}
	sign = line + strcspn(line, "=:");
	if (*sign == '\0' || sign == line)
		return false;
	if (*section == NULL)
		*section = open_section(sections, pstrdup(DEFAULT_PROFILE));
	entry = palloc(sizeof(DbxProfileEntry));
	entry->key = trimmed(line, sign - line);
	for (at = entry->key; *at; at++)
		*at = pg_tolower((unsigned char) *at);
	entry->value = read_value(sign + 1);
	(*section)->entries = lappend((*section)->entries, entry);
	return true;
}

static List *
parse(const char *text, const char *path)
{
	List	*sections = NIL;
	Section *section = NULL;
	int		 number = 1;

	if (strncmp(text, "\xef\xbb\xbf", 3) == 0)
		text += 3;
	for (;; number++)
	{
		Size  length = strcspn(text, "\n");
		char *line = pnstrdup(text, length);

		if (!take_line(line, &sections, &section))
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("line %d of \"%s\" is neither a section nor a setting",
							number, path),
					 errhint("A section is [NAME], a setting is key = value.")));
		if (text[length] == '\0')
			return sections;
		text += length + 1;
	}
}

/* The profile that is meant when none is named. */
static const char *
default_name(List *sections)
{
	Section	   *settings = find_section(sections, SETTINGS_SECTION);
	const char *name = NULL;
	ListCell   *cell;

	if (settings == NULL)
		return NULL;
	foreach(cell, settings->entries)
	{
		DbxProfileEntry *entry = lfirst(cell);

		if (strcmp(entry->key, DEFAULT_KEY) == 0 && *entry->value)
			name = entry->value;
	}
	return name;
}

static char *
profile_names(List *sections)
{
	StringInfoData names;
	ListCell	  *cell;

	initStringInfo(&names);
	foreach(cell, sections)
	{
		Section *section = lfirst(cell);

		if (strcmp(section->name, SETTINGS_SECTION) != 0)
			appendStringInfo(&names, "%s\"%s\"", names.len ? ", " : "",
							 section->name);
	}
	return names.data;
}

List *
dbx_profile_parse(const char *text, const char *path, const char *name,
				  const char **used)
{
	List	*sections = parse(text, path);
	Section *section;
	char	*names;

	if (name == NULL)
		name = default_name(sections);
	*used = name ? name : DEFAULT_PROFILE;
	section = find_section(sections, *used);
	if (section != NULL && strcmp(*used, SETTINGS_SECTION) != 0)
		return section->entries;
	if (name == NULL)
		return NIL;
	names = profile_names(sections);
	ereport(ERROR,
			(errcode(ERRCODE_UNDEFINED_OBJECT),
			 errmsg("there is no profile \"%s\" in \"%s\"", name, path),
			 *names ? errhint("Profiles there are: %s.", names) : 0));
}
