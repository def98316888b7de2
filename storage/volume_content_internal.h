/* SPDX-License-Identifier: Apache-2.0 */
/* What the operation (core loop) and the bulk thread of one transfer share. */
#pragma once

#include <pthread.h>
#include <stdatomic.h>

#include "operation/services.h"
#include "storage/volume_content.h"
#include "storage/volume_kinds.h"

struct volume_content {
	_Atomic int refs;
	struct volume_content *next; /* registry */
	char operation_id[UUID_TEXT_SIZE], volume_id[UUID_TEXT_SIZE], host_id[UUID_TEXT_SIZE];
	enum volume_content_direction direction;
	bool is_qcow2;
	int64_t size_bytes, max_bytes, total_bytes; /* total -1: unknown */

	pthread_mutex_t lock; /* of what follows; held across io->cancel only */
	pthread_cond_t changed;
	const struct volume_content_io *io; /* while the bulk thread runs */
	bool is_approved;                   /* the first bytes are good */
	bool is_turn;                       /* the bytes may move */
	bool is_over;                       /* the bulk thread has ended, with: */
	bool has_ended;                     /* the operation, too */
	int rc;
	struct err error;
	int64_t done_bytes;

	struct operation *waiting; /* core loop: whose step waits for the bulk thread */
};

struct volume_content *content_ref(struct volume_content *content);
/* Core loop: what the bulk thread did leads on. Takes over a reference. */
void content_advance(void *arg);
/* Core loop: shows how far it is. Takes over a reference. */
void content_report(void *arg);
