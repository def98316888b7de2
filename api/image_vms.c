/* SPDX-License-Identifier: Apache-2.0 */
/*
 * POST /images/{image}/vms: a VM from a template. What it becomes is the image's own needs (architecture, firmware,
 * memory, a disk "root" that begins as the image), then the image's vm_defaults, then the request's body: each a
 * merge patch on the one before.
 */
#include "api/image_vms.h"
#include "api/request_asked.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/cleanup.h"
#include "base/str.h"
#include "compute/vm.h"
#include "storage/image.h"

extern const struct route_table image_vms_routes;

static int create_vm(struct request *rq, struct reply *reply, struct err *e);

static const int create_errors[] = {ERR_NOT_FOUND, ERR_EXISTS, ERR_REFERENCE, ERR_WRONG_STATE,
        ERR_NO_CAPACITY, ERR_UNPROCESSABLE, ERR_UNSUPPORTED, ERR_DISK_FULL, ERR_UNAVAILABLE,
        ERR_HOST_DOWN, ERR_HOST_SLOW, 0};

static const struct route routes[] = {
        {.method = "POST",
                .path = "/images/{image}/vms",
                .permission = "vm.write",
                .mode = ROUTE_WRITE,
                .flags = ROUTE_OPERATION | ROUTE_HOST_WAIT | ROUTE_MERGE_PATCH,
                .body = &vm_write_fields,
                .response = &vm_fields,
                .errors = create_errors,
                .status = 202,
                .id = "image_create_vm",
                .summary =
                        "Create a VM from the image and its vm_defaults; the body is merged over "
                        "them",
                .handler = create_vm},
};
const struct route_table image_vms_routes = {
        .tag = "Images", .routes = routes, .n_routes = ARRAY_LEN(routes)};

/* Merges `patch` over *json. */
static void merge(json_t **json, json_t *patch)
{
	json_t *merged = field_merge_patch(*json, patch);
	json_decref(*json);
	*json = merged;
}

static json_t *make_base(const struct image_row *image)
{
	json_t *base = json_pack("{s:{s:{s:s}}}", "disks", "root", "image", image->spec.name);
	if (!str_is_empty(image->spec.architecture))
		json_object_set_new(base, "architecture", json_string(image->spec.architecture));
	if (image->spec.firmware == IMAGE_FIRMWARE_UEFI)
		json_object_set_new(base, "boot", json_pack("{s:s}", "firmware", "uefi"));
	if (image->spec.min_memory_bytes > 0)
		json_object_set_new(base, "memory",
		        json_pack("{s:I}", "size_bytes", (json_int_t)image->spec.min_memory_bytes));
	return base;
}

static int create_vm(struct request *rq, struct reply *reply, struct err *e)
{
	struct image_row image CLEANUP(image_row_done) = {0};
	struct vm_spec spec CLEANUP(vm_spec_done) = {0};
	json_t *wanted CLEANUP(cleanup_json) = NULL;
	char operation[UUID_TEXT_SIZE], id[UUID_TEXT_SIZE];
	const struct vm_request request = request_vm(rq);
	int rc = image_store_get(rq->db, rq->params[0], &image, e);
	if (rc < 0)
		return rc;
	json_t *defaults CLEANUP(cleanup_json) =
	        image.spec.vm_defaults ? json_loads(image.spec.vm_defaults, 0, NULL) : NULL;
	wanted = make_base(&image);
	if (defaults)
		merge(&wanted, defaults);
	merge(&wanted, rq->json);
	rc = field_decode(&vm_write_fields, wanted, FIELD_DECODE_CREATE, &spec, rq->errors);
	if (rc == 0)
		rc = vm_create(rq->db, rq->app->vms, &spec, &request, rq->errors, operation, id, e);
	return rc < 0 ? rc : reply_operation(rq, reply, operation, e);
}

int image_check_vm_defaults(struct request *rq)
{
	json_t *defaults = json_object_get(rq->json, "vm_defaults");
	if (!defaults || json_is_null(defaults))
		return 0;
	struct vm_spec spec CLEANUP(vm_spec_done) = {0};
	struct field_errors *errors CLEANUP(cleanup_free) = calloc(1, sizeof(*errors));
	if (!errors ||
	        field_decode(&vm_write_fields, defaults, FIELD_DECODE_PATCH, &spec, errors) == 0)
		return 0;
	for (size_t i = 0; i < errors->len; i++) {
		char pointer[sizeof(errors->items[i].pointer) + 16];
		snprintf(pointer, sizeof(pointer), "/vm_defaults%s", errors->items[i].pointer);
		field_errors_add(
		        rq->errors, errors->items[i].code, pointer, "%s", errors->items[i].detail);
	}
	return ERR_INVALID;
}
