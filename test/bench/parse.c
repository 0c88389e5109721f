/*
 * parse.c
 *	  What cJSON alone needs: parses the JSON text of standard input TIMES times.
 *
 * Separate from everything else so that nothing of ours is in the figure.  Prints
 * the nanoseconds of one parsing, allocation and freeing included.
 */
#include <cjson/cJSON.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

int
main(int argc, char **argv)
{
	static char		text[64 * 1024 * 1024];
	size_t			length = fread(text, 1, sizeof(text) - 1, stdin);
	int				times = argc > 1 ? atoi(argv[1]) : 1000;
	struct timespec begun;
	struct timespec ended;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &begun);
	for (int i = 0; i < times; i++)
	{
		cJSON *json = cJSON_ParseWithLength(text, length);

		if (json == NULL)
			return 1;
		cJSON_Delete(json);
	}
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &ended);
	printf("%.0f\n",
		   ((ended.tv_sec - begun.tv_sec) * 1e9 + ended.tv_nsec - begun.tv_nsec) / times);
	return 0;
}
