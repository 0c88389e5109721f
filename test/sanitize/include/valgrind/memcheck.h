/*
 * memcheck.h
 *	  Tells AddressSanitizer what PostgreSQL tells valgrind.
 *
 * A memory context hands out pieces of large blocks, so AddressSanitizer alone
 * sees an access past a piece only when it leaves the block.  PostgreSQL
 * compiled with USE_VALGRIND marks each piece, and pages of buffers that are
 * not pinned, through the macros of valgrind's own header; this file takes its
 * place on the include path and hands the marks on.  Of "defined" and
 * "undefined" memory AddressSanitizer knows nothing: both can be accessed.
 */
#ifndef DBX_SANITIZE_MEMCHECK_H
#define DBX_SANITIZE_MEMCHECK_H

#include <sanitizer/asan_interface.h>

#define VALGRIND_MAKE_MEM_NOACCESS(addr, size) \
	ASAN_POISON_MEMORY_REGION((addr), (size))
#define VALGRIND_MAKE_MEM_UNDEFINED(addr, size) \
	ASAN_UNPOISON_MEMORY_REGION((addr), (size))
#define VALGRIND_MAKE_MEM_DEFINED(addr, size) \
	ASAN_UNPOISON_MEMORY_REGION((addr), (size))
#define VALGRIND_CHECK_MEM_IS_DEFINED(addr, size) ((void) 0)

/* The allocators above mark the memory of a piece themselves, except these. */
#define VALGRIND_CREATE_MEMPOOL(context, redzones, zeroed) ((void) 0)
#define VALGRIND_DESTROY_MEMPOOL(context) ((void) 0)
#define VALGRIND_MEMPOOL_ALLOC(context, addr, size) \
	ASAN_UNPOISON_MEMORY_REGION((addr), (size))
#define VALGRIND_MEMPOOL_FREE(context, addr) ((void) 0)
#define VALGRIND_MEMPOOL_CHANGE(context, optr, nptr, size) ((void) 0)

#endif
