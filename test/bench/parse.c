/*
 * parse.c
 *	  What cJSON alone needs: parses each line of standard input, TIMES times over.
 *
 * Separate from everything else so that nothing of ours is in the figure.  Prints
 * the nanoseconds of one pass over all lines, allocation and freeing included.
 */
#include <cjson/cJSON.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

int
main(int argc, char **argv)
{
	static char		text[64 * 1024 * 1024];
	size_t			length = fread(text, 1, sizeof(text), stdin);
	const char	   *end = text + length;
	int				times = argc > 1 ? atoi(argv[1]) : 1;
	struct timespec begun;
	struct timespec ended;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &begun);
	for (int i = 0; i < times; i++)
	{
		const char *line = text;
		const char *next;

		for (; line < end && (next = memchr(line, '\n', end - line)) != NULL;
			 line = next + 1)
		{
			cJSON *json = cJSON_ParseWithLength(line, next - line);

			if (json == NULL)
				return 1;
			cJSON_Delete(json);
		}
	}
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &ended);
	printf("%.0f\n",
		   ((ended.tv_sec - begun.tv_sec) * 1e9 + ended.tv_nsec - begun.tv_nsec) / times);
	return 0;
}
