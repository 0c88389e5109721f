/*
 * queue.h
 *	  What can be decided about requests without a call of the service.
 */
#ifndef DBX_WORKER_QUEUE_H
#define DBX_WORKER_QUEUE_H

/*
 * Expire, cancel, make ready, merge and announce what is in the queue; within a
 * transaction of the session, SPI connected.
 */
extern void dbx_queue_tidy(void);

#endif /* DBX_WORKER_QUEUE_H */
