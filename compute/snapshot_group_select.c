/* SPDX-License-Identifier: Apache-2.0 */
/* From a selector to the VMs it means. */
#include "compute/snapshot_group_select.h"

#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/str.h"
#include "compute/snapshot_group_store.h"
#include "compute/vm_store.h"

#define VMS_MAX 256

static const struct field fields[] = {
        {.name = "vms",
                .type = FIELD_STRINGS,
                .offset = offsetof(struct snapshot_selector, vms),
                .max = VMS_MAX,
                .doc = "VMs by name or id"},
        {.name = "labels",
                .type = FIELD_LABELS,
                .offset = offsetof(struct snapshot_selector, labels),
                .max = 16,
                .doc = "Labels that a VM must all carry to be meant as well"},
};
const struct field_table snapshot_selector_fields =
        FIELD_TABLE("SnapshotSelector", struct snapshot_selector, fields);

void snapshot_selection_done(struct snapshot_selection *selection)
{
	free(selection->ids);
	*selection = (struct snapshot_selection){0};
}

static void add(struct snapshot_selection *selection, const char *id)
{
	size_t n = selection->len + 1;
	if ((n & selection->len) == 0) /* a power of two is full */
		selection->ids = xrealloc(selection->ids, n * 2 * sizeof(selection->ids[0]));
	uuid_text_copy(selection->ids[selection->len++], id);
}

static int compare(const void *a, const void *b)
{
	return strcmp(a, b);
}

static void sort_unique(struct snapshot_selection *selection)
{
	size_t kept = 0;
	if (selection->len > 0)
		qsort(selection->ids, selection->len, sizeof(selection->ids[0]), compare);
	for (size_t i = 0; i < selection->len; i++)
		if (kept == 0 || strcmp(selection->ids[kept - 1], selection->ids[i]) != 0)
			memmove(selection->ids[kept++], selection->ids[i], UUID_TEXT_SIZE);
	selection->len = kept;
}

int snapshot_selector_check(
        const struct snapshot_selector *selector, const char *pointer, struct err *e)
{
	if (selector->vms.len > 0 || selector->labels.len > 0)
		return 0;
	return err_set_at(e, ERR_INVALID, pointer, "must name VMs, labels, or both");
}

static int add_named(struct db *db, const char *name, bool is_strict,
        struct snapshot_selection *selection, struct err *e)
{
	struct vm_row vm CLEANUP(vm_row_done) = {0};
	int rc = vm_store_get(db, name, &vm, e);
	if (rc == 0 && vm.managed)
		add(selection, vm.id);
	if (rc == 0 && !vm.managed && is_strict)
		return err_set(e, ERR_REFERENCE, "VM %s is not managed: adopt it first", name);
	if (rc == ERR_NOT_FOUND && !is_strict)
		return 0;
	return rc == ERR_NOT_FOUND ? err_set(e, ERR_REFERENCE, "there is no VM named %s", name)
	                           : rc;
}

static bool carries(const char *spec, const struct field_labels *labels)
{
	json_t *json = json_loads(spec, 0, NULL);
	const json_t *carried = json_object_get(json, "labels");
	bool all = json_is_object(carried);
	for (size_t i = 0; all && i < labels->len; i++)
		all = str_equal(json_string_value(json_object_get(carried, labels->items[i].key)),
		        labels->items[i].value);
	json_decref(json);
	return all;
}

/* A cheap look before the text is parsed. */
static bool mentions(const char *spec, const struct field_labels *labels)
{
	return strstr(spec, labels->items[0].key) != NULL;
}

struct labelled {
	const struct field_labels *labels;
	struct snapshot_selection *selection;
};

static void add_if_labelled(void *arg, const char *id, const char *spec)
{
	const struct labelled *labelled = arg;
	if (mentions(spec, labelled->labels) && carries(spec, labelled->labels))
		add(labelled->selection, id);
}

static int add_labelled(struct db *db, const struct field_labels *labels,
        struct snapshot_selection *selection, struct err *e)
{
	struct labelled labelled = {.labels = labels, .selection = selection};
	return snapshot_group_store_each_labelled(db, add_if_labelled, &labelled, e);
}

int snapshot_select(struct db *db, const struct snapshot_selector *selector, bool is_strict,
        struct snapshot_selection *ret_selection, struct err *e)
{
	struct snapshot_selection selection CLEANUP(snapshot_selection_done) = {0};
	int rc = 0;
	for (size_t i = 0; rc == 0 && i < selector->vms.len; i++)
		rc = add_named(db, selector->vms.items[i], is_strict, &selection, e);
	if (rc == 0 && selector->labels.len > 0)
		rc = add_labelled(db, &selector->labels, &selection, e);
	if (rc < 0)
		return rc;
	sort_unique(&selection);
	*ret_selection = selection;
	selection = (struct snapshot_selection){0};
	return 0;
}
