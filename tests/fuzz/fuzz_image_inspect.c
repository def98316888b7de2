/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fuzzes the inspection of images, as whole files and as their beginnings. The first byte says what is declared. What is
 * taken has a size within the limit, is what was declared, and its beginning alone is taken, too.
 */
#include <stdlib.h>
#include <string.h>

#include "storage/image_inspect.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define LIMIT ((int64_t)1 << 44)

static int read_bytes(void *arg, int64_t offset, void *buffer, size_t n, struct err *e)
{
	(void)e;
	memcpy(buffer, (const uint8_t *)arg + offset, n); /* the sanitizer sees what lies beyond */
	return 0;
}

static void check(const struct image_facts *facts, enum image_format declared)
{
	if (declared != IMAGE_FORMATS && facts->format != declared)
		abort();
	if (facts->format == IMAGE_OVA ? facts->virtual_bytes != 0
	                               : facts->virtual_bytes <= 0 || facts->virtual_bytes > LIMIT)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct image_facts facts;
	struct err e = {0};
	if (size < 1)
		return 0;
	enum image_format declared = (enum image_format)(data[0] % (IMAGE_FORMATS + 1));
	const struct image_bytes bytes = {.size = (int64_t)size - 1,
	        .read = read_bytes,
	        .arg = (void *)(uintptr_t)(data + 1)};
	int rc = image_inspect(&bytes, declared, LIMIT, &facts, &e);
	if (rc < 0 && (rc != ERR_UNPROCESSABLE || !e.message[0]))
		abort();
	if (rc == 0)
		check(&facts, declared);
	int head = image_inspect_head(
	        data + 1, size - 1, (int64_t)size + 1000000, declared, LIMIT, &facts, &e);
	if (head == 0)
		check(&facts, declared);
	return 0;
}
