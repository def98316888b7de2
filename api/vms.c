/* SPDX-License-Identifier: Apache-2.0 */
/* The collection /vms. */
#include <string.h>

#include "api/list.h"
#include "api/request_asked.h"
#include "api/route.h"
#include "base/cleanup.h"
#include "compute/console_log.h"
#include "compute/vm.h"
#include "compute/vm_encode.h"
#include "hypervisor/driver.h"

static int vms_list(struct request *rq, struct reply *reply, struct err *e);
static int vms_create(struct request *rq, struct reply *reply, struct err *e);
static int vm_get(struct request *rq, struct reply *reply, struct err *e);
static int vm_put(struct request *rq, struct reply *reply, struct err *e);
static int vm_patch(struct request *rq, struct reply *reply, struct err *e);
static int vm_remove(struct request *rq, struct reply *reply, struct err *e);
static int vm_verb_start(struct request *rq, struct reply *reply, struct err *e);
static int vm_verb_shutdown(struct request *rq, struct reply *reply, struct err *e);
static int vm_verb_stop(struct request *rq, struct reply *reply, struct err *e);
static int vm_verb_reboot(struct request *rq, struct reply *reply, struct err *e);
static int vm_verb_reset(struct request *rq, struct reply *reply, struct err *e);
static int vm_verb_pause(struct request *rq, struct reply *reply, struct err *e);
static int vm_verb_resume(struct request *rq, struct reply *reply, struct err *e);
static int vm_verb_suspend(struct request *rq, struct reply *reply, struct err *e);
static int vm_verb_rename(struct request *rq, struct reply *reply, struct err *e);
static int vm_verb_adopt(struct request *rq, struct reply *reply, struct err *e);
static int vm_console_log(struct request *rq, struct reply *reply, struct err *e);

static const struct filter_column columns[] = {
        {"name", "vm.name", FILTER_TEXT, FILTER_FILTERABLE | FILTER_SORTABLE},
        {"id", "vm.id", FILTER_TEXT, FILTER_FILTERABLE | FILTER_SORTABLE | FILTER_UNIQUE},
        {"host", "host.name", FILTER_TEXT, FILTER_FILTERABLE},
        {"host_group", "host_group.name", FILTER_TEXT, FILTER_FILTERABLE},
        {"managed", "vm.managed", FILTER_BOOL, FILTER_FILTERABLE},
        {"power", VM_SQL_POWER, FILTER_TEXT, FILTER_FILTERABLE},
        {"desired_power", "vm.desired_power", FILTER_TEXT, FILTER_FILTERABLE},
        {"vcpus", "vm.vcpus", FILTER_INT, FILTER_FILTERABLE},
        {"memory_bytes", "vm.memory_bytes", FILTER_INT, FILTER_FILTERABLE},
        {"created_at", "vm.created_at", FILTER_TIME, FILTER_FILTERABLE | FILTER_SORTABLE},
        {NULL, NULL, FILTER_TEXT, 0},
};

/* ---- bodies of verbs ---- */

struct shutdown_body {
	int mode; /* enum shutdown_mode */
	int64_t timeout_seconds;
	bool force;
};
static const char *const mode_names[] = {"default", "acpi", "agent", NULL};
static const struct field shutdown_fields[] = {
        {.name = "mode",
                .type = FIELD_ENUM,
                .offset = offsetof(struct shutdown_body, mode),
                .names = mode_names,
                .doc = "How the guest is asked: by its agent, by ACPI, or what works"},
        {.name = "timeout_seconds",
                .type = FIELD_INT,
                .offset = offsetof(struct shutdown_body, timeout_seconds),
                .min = 1,
                .max = 3600,
                .default_text = "90",
                .doc = "How long to wait for it"},
        {.name = "force",
                .type = FIELD_BOOL,
                .offset = offsetof(struct shutdown_body, force),
                .doc = "Stop it by force when the time is up"},
};
static const struct field_table shutdown_table =
        FIELD_TABLE("VmShutdown", struct shutdown_body, shutdown_fields);
static const struct field reboot_fields[] = {
        {.name = "mode",
                .type = FIELD_ENUM,
                .offset = offsetof(struct shutdown_body, mode),
                .names = mode_names,
                .doc = "How the guest is asked: by its agent, by ACPI, or what works"},
};
static const struct field_table reboot_table =
        FIELD_TABLE("VmReboot", struct shutdown_body, reboot_fields);

struct name_body {
	char *name;
};
static const struct field rename_fields[] = {
        {.name = "name",
                .type = FIELD_STRING,
                .flags = FIELD_REQUIRED,
                .check = field_check_name,
                .doc = "The new name"},
};
static const struct field_table rename_table =
        FIELD_TABLE("VmRename", struct name_body, rename_fields);
static const struct field adopt_fields[] = {
        {.name = "name",
                .type = FIELD_STRING,
                .check = field_check_name,
                .doc = "Its name here (default: the domain's)"},
};
static const struct field_table adopt_table =
        FIELD_TABLE("VmAdopt", struct name_body, adopt_fields);

static const struct query_param delete_query[] = {
        {"delete_disks", QUERY_BOOL, 0, 0, "Also delete the files of its disks"},
        {"force", QUERY_BOOL, 0, 0, "Also if it runs: stop it first"},
        {NULL, QUERY_BOOL, 0, 0, NULL},
};
static const struct query_param console_query[] = {
        {"max_bytes", QUERY_INT, 1, 1 << 20, "How much of its end to answer (default 65536)"},
        {NULL, QUERY_BOOL, 0, 0, NULL},
};

static const int write_errors[] = {ERR_EXISTS, ERR_CONFLICT, ERR_PRECONDITION, ERR_REFERENCE,
        ERR_UNPROCESSABLE, ERR_UNSUPPORTED, ERR_WRONG_STATE, ERR_BUSY, ERR_NO_CAPACITY, ERR_LIMIT,
        ERR_HOST_DOWN, ERR_HOST_SLOW, 0};
static const int verb_errors[] = {ERR_NOT_FOUND, ERR_WRONG_STATE, ERR_BUSY, ERR_PRECONDITION,
        ERR_NO_CAPACITY, ERR_UNPROCESSABLE, ERR_HOST_DOWN, ERR_HOST_SLOW, 0};
static const int read_errors[] = {ERR_NOT_FOUND, 0};

#define VERB(verb, body_table, text)                                                               \
	{                                                                                          \
		.method = "POST", .path = "/vms/{vm}/" #verb, .permission = "vm.power",            \
		.mode = ROUTE_WRITE,                                                               \
		.flags = ROUTE_OPERATION | ROUTE_HOST_WAIT | ROUTE_BODY_OPTIONAL,                  \
		.body = body_table, .errors = verb_errors, .status = 202, .id = "vm_" #verb,       \
		.summary = text, .handler = vm_verb_##verb                                         \
	}

static const struct route routes[] = {
        {.method = "GET",
                .path = "/vms",
                .permission = "vm.read",
                .mode = ROUTE_READ,
                .flags = ROUTE_LIST,
                .response = &vm_fields,
                .columns = columns,
                .status = 200,
                .id = "vm_list",
                .summary = "List VMs",
                .handler = vms_list},
        {.method = "POST",
                .path = "/vms",
                .permission = "vm.write",
                .mode = ROUTE_WRITE,
                .flags = ROUTE_OPERATION | ROUTE_HOST_WAIT,
                .body = &vm_write_fields,
                .errors = write_errors,
                .status = 202,
                .id = "vm_create",
                .summary = "Create a VM",
                .handler = vms_create},
        {.method = "GET",
                .path = "/vms/{vm}",
                .permission = "vm.read",
                .mode = ROUTE_READ,
                .flags = ROUTE_FIELDS,
                .response = &vm_fields,
                .errors = read_errors,
                .status = 200,
                .id = "vm_get",
                .summary = "Read a VM",
                .handler = vm_get},
        {.method = "PUT",
                .path = "/vms/{vm}",
                .permission = "vm.write",
                .mode = ROUTE_WRITE,
                .flags = ROUTE_OPERATION | ROUTE_HOST_WAIT,
                .body = &vm_write_fields,
                .response = &vm_fields,
                .errors = write_errors,
                .status = 200,
                .id = "vm_put",
                .summary = "Create a VM of that name, or replace its configuration",
                .handler = vm_put},
        {.method = "PATCH",
                .path = "/vms/{vm}",
                .permission = "vm.write",
                .mode = ROUTE_WRITE,
                .flags = ROUTE_OPERATION | ROUTE_HOST_WAIT | ROUTE_MERGE_PATCH,
                .body = &vm_write_fields,
                .response = &vm_fields,
                .errors = write_errors,
                .status = 200,
                .id = "vm_patch",
                .summary = "Change a VM's configuration, live where the hypervisor can",
                .handler = vm_patch},
        {.method = "DELETE",
                .path = "/vms/{vm}",
                .permission = "vm.write",
                .mode = ROUTE_WRITE,
                .flags = ROUTE_OPERATION | ROUTE_HOST_WAIT,
                .query = delete_query,
                .errors = verb_errors,
                .status = 202,
                .id = "vm_delete",
                .summary = "Delete a VM; its disks stay unless asked",
                .handler = vm_remove},
        VERB(start, NULL, "Start a VM, or resume it from disk"),
        VERB(shutdown, &shutdown_table, "Ask the guest to shut down, and wait for it"),
        VERB(stop, NULL, "Stop a VM by force"),
        VERB(reboot, &reboot_table, "Ask the guest to reboot"),
        VERB(reset, NULL, "Reset a VM, like its reset button"),
        VERB(pause, NULL, "Stop a VM's processors"),
        VERB(resume, NULL, "Let a paused VM go on"),
        VERB(suspend, NULL, "Save a VM's memory to disk and stop it"),
        {.method = "POST",
                .path = "/vms/{vm}/rename",
                .permission = "vm.write",
                .mode = ROUTE_WRITE,
                .flags = ROUTE_OPERATION | ROUTE_HOST_WAIT,
                .body = &rename_table,
                .errors = verb_errors,
                .status = 202,
                .id = "vm_rename",
                .summary = "Rename a stopped VM",
                .handler = vm_verb_rename},
        {.method = "POST",
                .path = "/vms/{vm}/adopt",
                .permission = "vm.write",
                .mode = ROUTE_WRITE,
                .flags = ROUTE_BODY_OPTIONAL,
                .body = &adopt_table,
                .response = &vm_fields,
                .errors = verb_errors,
                .status = 200,
                .id = "vm_adopt",
                .summary = "Take a foreign domain under management as it is",
                .handler = vm_verb_adopt},
        {.method = "GET",
                .path = "/vms/{vm}/console/log",
                .permission = "vm.console",
                .mode = ROUTE_READ,
                .flags = ROUTE_PLAIN_TEXT,
                .query = console_query,
                .errors = read_errors,
                .status = 200,
                .id = "vm_console_log",
                .summary = "The end of the serial console's log",
                .handler = vm_console_log},
};
const struct route_table vms_routes = {
        .tag = "VMs", .routes = routes, .n_routes = ARRAY_LEN(routes)};

/* ---- reading ---- */

static void encode(const struct request *rq, const struct vm_row *row, struct json_writer *w)
{
	vm_encode(row, vms_get_memory(rq->app->vms, row), w);
}

static int each_vm(void *arg, const struct vm_row *row)
{
	struct list *list = arg;
	const struct sql_bind values[] = {
	        LIST_TEXT(row->name),
	        LIST_TEXT(row->id),
	        LIST_TEXT(row->host),
	        LIST_TEXT(row->host_group),
	        LIST_INT(row->managed),
	        LIST_TEXT(vm_power_names[row->power]),
	        LIST_TEXT(vm_power_names[row->desired_power]),
	        LIST_INT(row->vcpus),
	        LIST_INT(row->memory_bytes),
	        LIST_INT(row->created_at),
	};
	if (list_item(list, values))
		encode(list->rq, row, list_writer(list));
	return 0;
}

static int vms_list(struct request *rq, struct reply *reply, struct err *e)
{
	struct list list;
	list_begin(&list, rq, reply);
	int rc = vm_store_list(rq->db, &rq->list->page, each_vm, &list, e);
	if (rc == 0)
		list_end(&list);
	return rc;
}

static void reply_vm(const struct request *rq, struct reply *reply, const struct vm_row *row)
{
	encode(rq, row, &reply->body);
	reply_etag(reply, row->id, row->version);
}

static int vm_get(struct request *rq, struct reply *reply, struct err *e)
{
	struct vm_row row CLEANUP(vm_row_done) = {0};
	int rc = vm_store_get(rq->db, rq->params[0], &row, e);
	if (rc == 0)
		reply_vm(rq, reply, &row);
	return rc;
}

static int vm_console_log(struct request *rq, struct reply *reply, struct err *e)
{
	struct vm_row row CLEANUP(vm_row_done) = {0};
	int rc = vm_store_get(rq->db, rq->params[0], &row, e);
	if (rc < 0)
		return rc;
	reply->content_type = "text/plain; charset=utf-8";
	return console_log_read(rq->db, rq->app->vms, &row,
	        (size_t)request_query_int(rq, "max_bytes", 65536), &reply->body.out, e);
}

/* ---- changing ---- */

static int create(struct request *rq, struct vm_spec *spec, struct reply *reply, struct err *e)
{
	const struct vm_request request = request_vm(rq);
	char operation[UUID_TEXT_SIZE], id[UUID_TEXT_SIZE];
	int rc = vm_create(rq->db, rq->app->vms, spec, &request, rq->errors, operation, id, e);
	return rc < 0 ? rc : reply_operation(rq, reply, operation, e);
}

static int vms_create(struct request *rq, struct reply *reply, struct err *e)
{
	return create(rq, rq->body, reply, e);
}

static int update(struct request *rq, const struct vm_row *row, struct vm_spec *wanted,
        struct reply *reply, struct err *e)
{
	const struct vm_request request = request_vm(rq);
	char operation[UUID_TEXT_SIZE] = "";
	int rc = request_check_busy(rq, row->id, e);
	if (rc == 0)
		rc = vm_update(
		        rq->db, rq->app->vms, row, wanted, &request, rq->errors, operation, e);
	if (rc < 0)
		return rc;
	if (operation[0] != '\0')
		return reply_operation(rq, reply, operation, e);
	struct vm_row now CLEANUP(vm_row_done) = {0};
	rc = vm_store_get(rq->db, row->id, &now, e);
	if (rc == 0)
		reply_vm(rq, reply, &now);
	return rc;
}

static int vm_put(struct request *rq, struct reply *reply, struct err *e)
{
	struct vm_spec *wanted = rq->body;
	struct vm_row row CLEANUP(vm_row_done) = {0};
	int rc = vm_store_get(rq->db, rq->params[0], &row, e);
	if (rc == ERR_NOT_FOUND) {
		if (strcmp(wanted->name, rq->params[0]) != 0)
			return err_set_at(e, ERR_INVALID, "/name",
			        "must be the name in the path, %s", rq->params[0]);
		rc = request_check_absent(rq, e);
		return rc < 0 ? rc : create(rq, wanted, reply, e);
	}
	if (rc == 0)
		rc = request_check_match(rq, row.id, row.version, e);
	return rc < 0 ? rc : update(rq, &row, wanted, reply, e);
}

static int vm_patch(struct request *rq, struct reply *reply, struct err *e)
{
	struct vm_row row CLEANUP(vm_row_done) = {0};
	int rc = vm_store_get(rq->db, rq->params[0], &row, e);
	if (rc == 0)
		rc = request_check_match(rq, row.id, row.version, e);
	if (rc < 0)
		return rc;
	json_t *base CLEANUP(cleanup_json) = vm_patch_base(&row);
	json_t *merged CLEANUP(cleanup_json) = field_merge_patch(base, rq->json);
	struct vm_spec wanted CLEANUP(vm_spec_done) = {0};
	rc = field_decode(&vm_write_fields, merged, FIELD_DECODE_CREATE, &wanted, rq->errors);
	return rc < 0 ? rc : update(rq, &row, &wanted, reply, e);
}

static int vm_remove(struct request *rq, struct reply *reply, struct err *e)
{
	struct vm_row row CLEANUP(vm_row_done) = {0};
	const struct vm_request request = request_vm(rq);
	char operation[UUID_TEXT_SIZE] = "";
	int rc = vm_store_get(rq->db, rq->params[0], &row, e);
	if (rc == 0)
		rc = request_check_match(rq, row.id, row.version, e);
	if (rc == 0)
		rc = request_check_busy(rq, row.id, e);
	if (rc == 0)
		rc = vm_delete(rq->db, rq->app->vms, &row,
		        request_query_bool(rq, "delete_disks", false),
		        request_query_bool(rq, "force", false), &request, operation, e);
	if (rc < 0)
		return rc;
	if (operation[0] != '\0')
		return reply_operation(rq, reply, operation, e);
	reply->status = 204;
	return 0;
}

static int act(struct request *rq, enum vm_verb verb, struct reply *reply, struct err *e)
{
	struct vm_row row CLEANUP(vm_row_done) = {0};
	const struct shutdown_body *body = rq->body;
	const struct vm_verb_options options = {
	        .mode = body ? (enum shutdown_mode)body->mode : SHUTDOWN_DEFAULT,
	        .timeout_seconds = body && body->timeout_seconds ? body->timeout_seconds : 90,
	        .force = body && body->force,
	};
	const struct vm_request request = request_vm(rq);
	char operation[UUID_TEXT_SIZE] = "";
	int rc = vm_store_get(rq->db, rq->params[0], &row, e);
	if (rc == 0)
		rc = request_check_match(rq, row.id, row.version, e);
	if (rc == 0)
		rc = request_check_busy(rq, row.id, e);
	if (rc == 0)
		rc = vm_act(rq->db, rq->app->vms, &row, verb, &options, &request, operation, e);
	return rc < 0 ? rc : reply_operation(rq, reply, operation, e);
}

#define VERB_HANDLER(name, verb)                                                                   \
	static int vm_verb_##name(struct request *rq, struct reply *reply, struct err *e)          \
	{                                                                                          \
		return act(rq, verb, reply, e);                                                    \
	}

VERB_HANDLER(start, VM_START)
VERB_HANDLER(shutdown, VM_SHUTDOWN)
VERB_HANDLER(stop, VM_STOP)
VERB_HANDLER(reboot, VM_REBOOT)
VERB_HANDLER(reset, VM_RESET)
VERB_HANDLER(pause, VM_PAUSE)
VERB_HANDLER(resume, VM_RESUME)
VERB_HANDLER(suspend, VM_SUSPEND)

static int vm_verb_rename(struct request *rq, struct reply *reply, struct err *e)
{
	struct vm_row row CLEANUP(vm_row_done) = {0};
	const struct name_body *body = rq->body;
	const struct vm_request request = request_vm(rq);
	char operation[UUID_TEXT_SIZE] = "";
	int rc = vm_store_get(rq->db, rq->params[0], &row, e);
	if (rc == 0)
		rc = request_check_match(rq, row.id, row.version, e);
	if (rc == 0)
		rc = request_check_busy(rq, row.id, e);
	if (rc == 0)
		rc = vm_rename(rq->db, rq->app->vms, &row, body->name, &request, operation, e);
	return rc < 0 ? rc : reply_operation(rq, reply, operation, e);
}

static int vm_verb_adopt(struct request *rq, struct reply *reply, struct err *e)
{
	struct vm_row row CLEANUP(vm_row_done) = {0}, now CLEANUP(vm_row_done) = {0};
	const struct name_body *body = rq->body;
	int rc = vm_store_get(rq->db, rq->params[0], &row, e);
	if (rc == 0)
		rc = request_check_match(rq, row.id, row.version, e);
	if (rc == 0)
		rc = vm_adopt(rq->db, &row, body ? body->name : NULL, e);
	if (rc == 0)
		rc = vm_store_get(rq->db, row.id, &now, e);
	if (rc == 0)
		reply_vm(rq, reply, &now);
	return rc;
}
