/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A guard against a fault of libvirt's client before 10.4 (CVE-2024-4418): several threads on one connection may crash the
 * process. See libvirt_guard.c and docs/decisions/0008.
 */
#pragma once

/* Finds the functions the guard needs, and keeps it in the program. Once, before any connection. */
void libvirt_guard_init(void);
