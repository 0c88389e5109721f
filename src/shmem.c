/*
 * shmem.c
 *	  Areas of shared memory: asked for, made and found again in one place.
 *
 * Separate because several modules on different floors keep something for the
 * whole cluster, and the two hooks it takes should be chained once.  What is in
 * an area belongs to its module; pointers never are.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "storage/ipc.h"
#include "storage/shmem.h"

#include "shmem.h"

#define AREAS 8

static const DbxShmemArea *areas[AREAS];
static int				   nareas = 0;

static shmem_request_hook_type previous_shmem_request_hook = NULL;
static shmem_startup_hook_type previous_shmem_startup_hook = NULL;

static void
request_areas(void)
{
	if (previous_shmem_request_hook)
		previous_shmem_request_hook();
	for (int i = 0; i < nareas; i++)
	{
		RequestAddinShmemSpace(MAXALIGN(areas[i]->size));
		RequestNamedLWLockTranche(areas[i]->name, 1);
	}
}

static void
make_areas(void)
{
	if (previous_shmem_startup_hook)
		previous_shmem_startup_hook();

	LWLockAcquire(AddinShmemInitLock, LW_EXCLUSIVE);
	for (int i = 0; i < nareas; i++)
	{
		const DbxShmemArea *area = areas[i];
		bool				found;

		*area->area = ShmemInitStruct(area->name, area->size, &found);
		*area->lock = &GetNamedLWLockTranche(area->name)->lock;
		if (found)
			continue;
		memset(*area->area, 0, area->size);
		if (area->init != NULL)
			area->init(*area->area);
	}
	LWLockRelease(AddinShmemInitLock);
}

void
dbx_shmem_register(const DbxShmemArea *area)
{
	Assert(process_shared_preload_libraries_in_progress);
	if (nareas == AREAS)
		elog(ERROR, "too many areas of shared memory");
	if (nareas == 0)
	{
		previous_shmem_request_hook = shmem_request_hook;
		shmem_request_hook = request_areas;
		previous_shmem_startup_hook = shmem_startup_hook;
		shmem_startup_hook = make_areas;
	}
	areas[nareas++] = area;
}
