/*
 * file.c
 *	  Small text files of the server: tokens and profiles.
 *
 * Separate since both credentials and profiles come from files, and what is
 * accepted as one should be the same.  Such a file is small and plain: a named
 * pipe would hold up the process, an endless one fill its memory.
 */
#include "postgres.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "storage/fd.h"

#include "auth/file.h"

#define LARGEST_FILE (1024 * 1024)

/* Read all there is into a buffer; NULL and errno if that fails. */
static char *
read_all(int fd, Size size)
{
	char *content = palloc(size + 1);
	Size  got = 0;

	while (got < size)
	{
		ssize_t n = read(fd, content + got, size - got);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return NULL;
		if (n == 0)
			break;
		got += n;
	}
	content[got] = '\0';
	return content;
}

char *
dbx_file_read(const char *path, const char **why)
{
	struct stat status;
	char	   *content = NULL;
	int			fd;

	/* without O_NONBLOCK, opening a pipe waits for somebody to write */
	fd = OpenTransientFile(path, O_RDONLY | O_NONBLOCK);
	if (fd < 0)
	{
		*why = psprintf("cannot be opened: %m");
		return NULL;
	}
	if (fstat(fd, &status) != 0)
		*why = psprintf("cannot be read: %m");
	else if (!S_ISREG(status.st_mode))
		*why = "is not a plain file";
	else if (status.st_size > LARGEST_FILE)
		*why = "is too large to be what it should be";
	else
	{
		content = read_all(fd, status.st_size);
		if (content == NULL)
			*why = psprintf("cannot be read: %m");
	}
	CloseTransientFile(fd);
	return content;
}

char *
dbx_file_read_token(const char *path, const char **why)
{
	char *content = dbx_file_read(path, why);
	char *at;
	Size  length;

	if (content == NULL)
		return NULL;
	content += strspn(content, " \t\r\n");
	length = strlen(content);
	while (length > 0 && strchr(" \t\r\n", content[length - 1]) != NULL)
		content[--length] = '\0';
	if (length == 0)
	{
		*why = "is empty";
		return NULL;
	}
	for (at = content; *at; at++)
	{
		if ((unsigned char) *at <= ' ' || (unsigned char) *at >= 0x7f)
		{
			*why = "holds something else than one token";
			return NULL;
		}
	}
	return content;
}
