/* SPDX-License-Identifier: Apache-2.0 */
/* A host's answer, and the pure rule of its accelerator. */
#pragma once

#include "compute/host_store.h"

extern const char *const host_accelerator_names[]; /* by enum host_accelerator */
extern const struct field_table host_extra_fields; /* host.spec: what has no column of its own */

/*
 * "kvm", "qemu" or "test" for a guest of this architecture (lab.md's honest test: on x86 the host
 * CPU's vmx or svm flag, whatever /dev/kvm says); NULL if the host has no emulator for it. Pure.
 */
const char *host_choose_domain_type(const struct host_facts *facts,
        enum host_accelerator accelerator, const char *architecture);

/* The facts as they are kept in host.facts: JSON with what an answer shows. Caller frees. */
char *host_facts_store(const struct host_facts *facts);

/* What of the configuration has no column of its own (host_extra_fields); released with host_spec_done in any case. */
int host_load_extra(const struct host_row *row, struct host_spec *ret_extra, struct err *e);

/* Writes the resource. */
int host_encode(const struct host_full_row *full, struct json_writer *w, struct err *e);
/* The row as the JSON that merge patches apply to. New reference. */
json_t *host_patch_base(const struct host_row *row);
