/* SPDX-License-Identifier: Apache-2.0 */
/* A sample struct with every field type, shared by the field tests. */
#pragma once

#include "base/field.h"

struct sample_disk {
	char *name; /* the key */
	int64_t size_bytes;
	int bus;
	bool backup;
};

struct sample_rule {
	char *label;
	bool hard;
};

struct sample_boot {
	int firmware;
	bool secure_boot;
	char *kernel;
};

struct sample {
	int64_t unused; /* so that no member has offset 0, which means "no present flag" */
	char *id, *name, *description, *password, *data;
	int64_t vcpus, delay, created_at;
	double ratio;
	int power;
	bool managed;
	bool has_delay, has_tpm;
	struct sample_boot boot;
	struct sample_boot tpm;
	struct field_strings keys;
	struct field_labels labels;
	struct field_list rules, disks;
};

extern const struct field_table sample_fields;
extern const struct field_table sample_disk_fields;

enum { SAMPLE_OFF, SAMPLE_ON };
enum { SAMPLE_VIRTIO, SAMPLE_SATA };
