/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cloud-init's NoCloud seed: a small ISO 9660 image labelled CIDATA with the files user-data, meta-data, vendor-data and
 * network-config (cloud-init's documentation, "NoCloud"). What is given as plain fields goes into meta-data and vendor-data,
 * so that it never mixes with the user's own user-data. Pure, any thread.
 */
#pragma once

#include <stddef.h>

#include "base/field.h"

struct cloud_init_data {
	const char *instance_id;
	const char *hostname;
	const struct field_strings *ssh_keys;
	const char *user_data, *meta_data, *network_config; /* NULL: none */
	const char *password_hash;                          /* crypt(3) format; NULL: none */
	const char *default_user; /* who gets the password; NULL: the image's own default */
};

/*
 * Whether cloud-init will understand the three documents: adds each problem at BASE/user_data, ... user-data that begins
 * with #cloud-config must be a YAML mapping of keys that cloud-init knows (its schema, version 22.4).
 */
int cloud_init_check(const char *base, const char *user_data, const char *meta_data,
        const char *network_config, struct field_errors *errors);
/* A new instance id for such data, so that the guest applies what changed: "iid-" and a digest. */
void cloud_init_instance_id(const struct cloud_init_data *data, const char *vm_id, char ret_id[48]);
/* The ISO; caller frees *ret_iso. */
int cloud_init_build(
        const struct cloud_init_data *data, void **ret_iso, size_t *ret_n, struct err *e);
/* Hashes a password by SHA-512 crypt(3) with a fresh salt; caller frees *ret_hash. */
int cloud_init_hash_password(const char *password, char **ret_hash, struct err *e);
