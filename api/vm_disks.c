/* SPDX-License-Identifier: Apache-2.0 */
/* /vms/{vm}/disks/{disk}: work on one disk of a VM; and /vms/{vm}/clone. */
#include "api/route.h"
#include "api/request_asked.h"
#include "base/cleanup.h"
#include "compute/vm_clone.h"
#include "compute/vm_disk.h"

extern const struct route_table vm_disks_routes;

static int move_disk(struct request *rq, struct reply *reply, struct err *e);
static int flatten_disk(struct request *rq, struct reply *reply, struct err *e);
static int clone_vm(struct request *rq, struct reply *reply, struct err *e);

struct move_body {
	char *pool;
	int format;
	bool has_format;
};
static const struct field move_fields[] = {
        {.name = "pool",
                .type = FIELD_STRING,
                .offset = offsetof(struct move_body, pool),
                .flags = FIELD_REQUIRED,
                .check = field_check_name,
                .doc = "Where it goes"},
        {.name = "format",
                .type = FIELD_ENUM,
                .offset = offsetof(struct move_body, format),
                .present = offsetof(struct move_body, has_format),
                .names = vm_disk_format_names,
                .doc = "Its format there (default: as it is)"},
};
static const struct field_table move_table =
        FIELD_TABLE("VmDiskMove", struct move_body, move_fields);

struct clone_body {
	char *name, *snapshot;
	int mode, desired_power;
};
static const char *const power_names[] = {"stopped", "running", NULL};
static const struct field clone_fields[] = {
        {.name = "name",
                .type = FIELD_STRING,
                .offset = offsetof(struct clone_body, name),
                .flags = FIELD_REQUIRED,
                .check = field_check_name,
                .doc = "Name of the new VM"},
        {.name = "snapshot",
                .type = FIELD_STRING,
                .offset = offsetof(struct clone_body, snapshot),
                .flags = FIELD_REQUIRED,
                .max = 63,
                .check = field_check_text,
                .doc = "The snapshot of this VM that the new one begins as, by name or id"},
        {.name = "mode",
                .type = FIELD_ENUM,
                .offset = offsetof(struct clone_body, mode),
                .names = vm_clone_names,
                .doc = "linked: its disks stand on the snapshot's; full: they become independent "
                       "in the background"},
        {.name = "desired_power",
                .type = FIELD_ENUM,
                .offset = offsetof(struct clone_body, desired_power),
                .names = power_names,
                .doc = "running also starts it"},
};
static const struct field_table clone_table =
        FIELD_TABLE("VmClone", struct clone_body, clone_fields);

static const int disk_errors[] = {ERR_NOT_FOUND, ERR_REFERENCE, ERR_IN_USE, ERR_EXISTS, ERR_BUSY,
        ERR_WRONG_STATE, ERR_UNSUPPORTED, ERR_PRECONDITION, ERR_DISK_FULL, ERR_UNAVAILABLE,
        ERR_HOST_DOWN, ERR_HOST_SLOW, 0};
static const int clone_errors[] = {ERR_NOT_FOUND, ERR_REFERENCE, ERR_EXISTS, ERR_WRONG_STATE,
        ERR_UNSUPPORTED, ERR_NO_CAPACITY, ERR_DISK_FULL, ERR_UNAVAILABLE, ERR_HOST_DOWN,
        ERR_HOST_SLOW, 0};

static const struct route routes[] = {
        {.method = "POST",
                .path = "/vms/{vm}/disks/{disk}/move",
                .permission = "vm.write",
                .mode = ROUTE_WRITE,
                .flags = ROUTE_OPERATION | ROUTE_HOST_WAIT,
                .body = &move_table,
                .errors = disk_errors,
                .status = 202,
                .id = "vm_disk_move",
                .summary = "Move a disk to another pool, while the guest runs or not",
                .handler = move_disk},
        {.method = "POST",
                .path = "/vms/{vm}/disks/{disk}/flatten",
                .permission = "vm.write",
                .mode = ROUTE_WRITE,
                .flags = ROUTE_OPERATION | ROUTE_HOST_WAIT,
                .errors = disk_errors,
                .status = 202,
                .id = "vm_disk_flatten",
                .summary = "Make a disk independent of the image or snapshot it stands on; a "
                           "running guest stands still for a moment at the end",
                .handler = flatten_disk},
        {.method = "POST",
                .path = "/vms/{vm}/clone",
                .permission = "vm.write",
                .mode = ROUTE_WRITE,
                .flags = ROUTE_OPERATION | ROUTE_HOST_WAIT,
                .body = &clone_table,
                .errors = clone_errors,
                .status = 202,
                .id = "vm_clone",
                .summary = "Create a VM from a snapshot of this one",
                .handler = clone_vm},
};
const struct route_table vm_disks_routes = {
        .tag = "VMs", .routes = routes, .n_routes = ARRAY_LEN(routes)};

static int find_vm(struct request *rq, struct vm_row *ret_row, struct err *e)
{
	int rc = vm_store_get(rq->db, rq->params[0], ret_row, e);
	if (rc == 0)
		rc = request_check_match(rq, ret_row->id, ret_row->version, e);
	return rc < 0 ? rc : request_check_busy(rq, ret_row->id, e);
}

static int move_disk(struct request *rq, struct reply *reply, struct err *e)
{
	const struct move_body *body = rq->body;
	const struct vm_request request = request_vm(rq);
	const struct vm_disk_move move = {
	        .pool = body->pool,
	        .format = body->has_format ? vm_disk_format_names[body->format] : NULL,
	};
	struct vm_row row CLEANUP(vm_row_done) = {0};
	char operation[UUID_TEXT_SIZE] = "";
	int rc = find_vm(rq, &row, e);
	if (rc == 0)
		rc = vm_disk_start_move(
		        rq->db, rq->app->vms, &row, rq->params[1], &move, &request, operation, e);
	return rc < 0 ? rc : reply_operation(rq, reply, operation, e);
}

static int flatten_disk(struct request *rq, struct reply *reply, struct err *e)
{
	const struct vm_request request = request_vm(rq);
	struct vm_row row CLEANUP(vm_row_done) = {0};
	char operation[UUID_TEXT_SIZE] = "";
	int rc = find_vm(rq, &row, e);
	if (rc == 0)
		rc = vm_disk_start_flatten(
		        rq->db, rq->app->vms, &row, rq->params[1], &request, operation, e);
	return rc < 0 ? rc : reply_operation(rq, reply, operation, e);
}

static int clone_vm(struct request *rq, struct reply *reply, struct err *e)
{
	const struct clone_body *body = rq->body;
	const struct vm_request request = request_vm(rq);
	const struct vm_clone_request clone = {
	        .name = body->name,
	        .snapshot = body->snapshot,
	        .mode = (enum vm_clone)body->mode,
	        .desired_power = body->desired_power ? POWER_RUNNING : POWER_STOPPED,
	};
	struct vm_row row CLEANUP(vm_row_done) = {0};
	char operation[UUID_TEXT_SIZE] = "", id[UUID_TEXT_SIZE];
	int rc = vm_store_get(rq->db, rq->params[0], &row, e);
	if (rc == 0)
		rc = vm_clone(
		        rq->db, rq->app->vms, &row, &clone, &request, rq->errors, operation, id, e);
	return rc < 0 ? rc : reply_operation(rq, reply, operation, e);
}
