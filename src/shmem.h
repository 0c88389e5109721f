/*
 * shmem.h
 *	  Areas of shared memory, each with a lock of its own.
 */
#ifndef DBX_SHMEM_H
#define DBX_SHMEM_H

#include "storage/lwlock.h"

typedef struct DbxShmemArea
{
	const char *name; /* of the area and of its lock's tranche */
	Size		size;
	void	  **area; /* set when the server has made it, in every process */
	LWLock	  **lock; /* likewise */
	void (*init)(void *area); /* of the zeroed area, also after a crash; may
							   * be NULL; must not raise */
} DbxShmemArea;

/*
 * Ask for an area (static data).  Only while the library is being preloaded;
 * without that the pointers stay as they are.
 */
extern void dbx_shmem_register(const DbxShmemArea *area);

#endif /* DBX_SHMEM_H */
