/* SPDX-License-Identifier: Apache-2.0 */
/* berthd's command line. */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "api/server.h"
#include "base/cleanup.h"
#include "base/log.h"
#include "base/vec.h"
#include "compute/freeze_guard.h"
#include "daemon/daemon.h"

#define DEFAULT_CONFIG "/etc/berth/berth.conf"

enum action {
	RUN,
	CHECK_CONFIG,
	PRINT_CONFIG,
	PRINT_MAN,
	PRINT_OPENAPI,
	PRINT_VERSION,
	PRINT_HELP
};

struct command {
	enum action action;
	const char *config_path;     /* borrowed from argv */
	VEC(const char *) overrides; /* name, value, ... NULL */
};

static const char help[] =
        "usage: berthd [options]\n"
        "  --config FILE          read options from FILE (default " DEFAULT_CONFIG
        " if there is one)\n"
        "  --state-dir DIR        keep everything below DIR\n"
        "  --listen ADDR:PORT     serve HTTP there, or none\n"
        "  --socket PATH          the unix socket (default DIR/berth.sock)\n"
        "  --no-local-host        do not register this machine's qemu:///system\n"
        "  --set NAME=VALUE       set any option of the configuration file\n"
        "  --check-config         check the configuration and stop\n"
        "  --print-config         print an example configuration file\n"
        "  --print-openapi        print the API's OpenAPI document\n"
        "  --version, --help\n";

static const struct option long_options[] = {
        {"config", required_argument, NULL, 'c'},
        {"state-dir", required_argument, NULL, 'd'},
        {"listen", required_argument, NULL, 'l'},
        {"socket", required_argument, NULL, 's'},
        {"no-local-host", no_argument, NULL, 'n'},
        {"set", required_argument, NULL, 'o'},
        {"check-config", no_argument, NULL, 'C'},
        {"print-config", no_argument, NULL, 'P'},
        {"print-man", no_argument, NULL, 'M'},
        {"print-openapi", no_argument, NULL, 'O'},
        {"version", no_argument, NULL, 'v'},
        {"help", no_argument, NULL, 'h'},
        {NULL, 0, NULL, 0},
};

static void override(struct command *command, const char *name, const char *value)
{
	VEC_PUSH(&command->overrides, name);
	VEC_PUSH(&command->overrides, value);
}

static int override_any(struct command *command, char *pair)
{
	char *equals = strchr(pair, '=');
	if (!equals) {
		fprintf(stderr, "berthd: --set takes NAME=VALUE\n");
		return -1;
	}
	*equals = '\0';
	override(command, pair, equals + 1);
	return 0;
}

static int parse(int argc, char **argv, struct command *command)
{
	int c;
	while ((c = getopt_long(argc, argv, "hv", long_options, NULL)) != -1) {
		switch (c) {
		case 'c':
			command->config_path = optarg;
			break;
		case 'd':
			override(command, "state_dir", optarg);
			break;
		case 'l':
			override(command, "api.listen", optarg);
			break;
		case 's':
			override(command, "api.socket", optarg);
			break;
		case 'n':
			override(command, "hosts.local", "false");
			break;
		case 'o':
			if (override_any(command, optarg) < 0)
				return -1;
			break;
		case 'C':
			command->action = CHECK_CONFIG;
			break;
		case 'P':
			command->action = PRINT_CONFIG;
			break;
		case 'M':
			command->action = PRINT_MAN;
			break;
		case 'O':
			command->action = PRINT_OPENAPI;
			break;
		case 'v':
			command->action = PRINT_VERSION;
			break;
		case 'h':
			command->action = PRINT_HELP;
			break;
		default:
			return -1;
		}
	}
	VEC_PUSH(&command->overrides, NULL);
	if (optind < argc) {
		fprintf(stderr, "berthd: unexpected argument %s\n", argv[optind]);
		return -1;
	}
	return 0;
}

static int load_options(const struct command *command, struct options *ret_options, struct err *e)
{
	int rc = config_load(&options_table, command->config_path, ret_options, e);
	for (size_t i = 0; rc == 0 && command->overrides.items[i]; i += 2)
		rc = config_set(&options_table, ret_options, command->overrides.items[i],
		        command->overrides.items[i + 1], e);
	return rc;
}

static int report(const struct err *e)
{
	fprintf(stderr, "berthd: %s%s%s\n", e->message, e->hint[0] ? "; " : "", e->hint);
	return EXIT_FAILURE;
}

static int run(const struct command *command, struct options *options)
{
	struct err e = {0};
	struct daemon *daemon = NULL;
	umask(0027);
	log_init((enum log_level)options_log_level(options));
	if (daemon_start(options, command->config_path, command->overrides.items, &daemon, &e) < 0)
		return report(&e);
	daemon_run(daemon);
	daemon_free(daemon);
	return EXIT_SUCCESS;
}

static int with_options(struct command *command)
{
	struct err e = {0};
	struct options options = {0};
	if (!command->config_path && access(DEFAULT_CONFIG, F_OK) == 0)
		command->config_path = DEFAULT_CONFIG;
	if (load_options(command, &options, &e) < 0) {
		config_release(&options_table, &options);
		return report(&e);
	}
	int status = EXIT_SUCCESS;
	if (command->action == CHECK_CONFIG)
		printf("the configuration is fine\n");
	else
		status = run(command, &options);
	config_release(&options_table, &options);
	return status;
}

static void print_openapi(void)
{
	struct json_writer w CLEANUP(json_writer_done) = {0};
	openapi_write(route_tables, &w);
	puts(str_text(&w.out));
}

int main(int argc, char **argv)
{
	struct command command = {.action = RUN};
	int status = EXIT_SUCCESS;
	if (argc == 3 && strcmp(argv[1], FREEZE_GUARD_OPTION) == 0)
		return freeze_guard_main(argv[2]); /* started by berthd itself */
	if (parse(argc, argv, &command) < 0)
		command.action = PRINT_HELP, status = 2;
	switch (command.action) {
	case PRINT_CONFIG:
		config_print_example(&options_table, stdout);
		break;
	case PRINT_MAN:
		config_print_man(&options_table, stdout);
		break;
	case PRINT_OPENAPI:
		print_openapi();
		break;
	case PRINT_VERSION:
		printf("berthd %s\n", BERTH_VERSION);
		break;
	case PRINT_HELP:
		fputs(help, status ? stderr : stdout);
		break;
	default:
		status = with_options(&command);
	}
	VEC_DONE(&command.overrides);
	return status;
}
