/* SPDX-License-Identifier: Apache-2.0 */
/* The simulator's command line: see README.md. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/sim/compare.h"

static int usage(void)
{
	fprintf(stderr, "usage: sim [--hosts N] [--hours H] [--seed S] [--family NAME] [--offered "
	                "FROM TO STEP] "
	                "[--detail]\n");
	return 2;
}

int main(int argc, char **argv)
{
	struct sim_options options = {
	        .hosts = 1, .hours = 24, .from = 0.8, .to = 3, .step = 0.2, .seed = 1};
	struct sim_summary summary;
	for (int i = 1; i < argc; i++) {
		const char *word = argv[i];
		int values = argc - 1 - i;
		if (!strcmp(word, "--detail")) {
			options.detail = true;
		} else if (!strcmp(word, "--hosts") && values > 0) {
			options.hosts = atoi(argv[++i]);
		} else if (!strcmp(word, "--hours") && values > 0) {
			options.hours = strtod(argv[++i], NULL);
		} else if (!strcmp(word, "--seed") && values > 0) {
			options.seed = strtoull(argv[++i], NULL, 10);
		} else if (!strcmp(word, "--family") && values > 0) {
			options.family = argv[++i];
		} else if (!strcmp(word, "--offered") && values > 2) {
			options.from = strtod(argv[++i], NULL);
			options.to = strtod(argv[++i], NULL);
			options.step = strtod(argv[++i], NULL);
		} else {
			return usage();
		}
	}
	if (options.hosts < 1 || options.step <= 0 || options.from <= 0 || options.hours <= 0)
		return usage();
	sim_compare(&options, &summary);
	return 0;
}
