/* SPDX-License-Identifier: Apache-2.0 */
/* Fuzzes the reading of OVF descriptions: a name that is taken is a plain file name. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "storage/image_ova.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct err e = {0};
	char *name = NULL;
	int rc = image_ova_find_disk((const char *)data, size, &name, &e);
	if (rc < 0 && (rc != ERR_UNPROCESSABLE || name))
		abort();
	if (rc == 0 && (!name || !name[0] || strchr(name, '/') || strcmp(name, "..") == 0))
		abort();
	free(name);
	return 0;
}
