/* SPDX-License-Identifier: Apache-2.0 */
/* A real libvirtd of its own for a test program (tests/lab/serve.py), and qemu-img. Test helper. */
#pragma once

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

struct lab_libvirt {
	char dir[32], uri[256], images[128], kernel[256], initrd[256];
	pid_t pid;
	int hold; /* closing it ends the server */
};

/* Runs a program and returns its exit status; its output goes to `output` unless NULL. */
static inline int lab_run(const char *const *argv, char *output, size_t size)
{
	int out[2];
	if (pipe2(out, O_CLOEXEC) != 0)
		return -1;
	pid_t pid = fork();
	if (pid == 0) {
		dup2(out[1], 1);
		execvp(argv[0], (char **)argv);
		_exit(127);
	}
	close(out[1]);
	FILE *f = fdopen(out[0], "r");
	char rest[256];
	size_t len = output ? fread(output, 1, size - 1, f) : 0;
	if (output)
		output[len] = '\0';
	while (fread(rest, 1, sizeof(rest), f) > 0)
		;
	fclose(f);
	int status = -1;
	waitpid(pid, &status, 0);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}
#define LAB_RUN(...) lab_run((const char *const[]){__VA_ARGS__, NULL}, NULL, 0)

static inline int lab_read_line(FILE *f, char *text, size_t size)
{
	if (!fgets(text, (int)size, f))
		return -1;
	text[strcspn(text, "\n")] = '\0';
	return 0;
}

static inline int lab_libvirt_start(struct lab_libvirt *lab)
{
	int in[2], out[2];
	strcpy(lab->dir, "/tmp/bl-XXXXXX");
	if (!mkdtemp(lab->dir) || pipe2(in, O_CLOEXEC) != 0 || pipe2(out, O_CLOEXEC) != 0)
		return -1;
	lab->pid = fork();
	if (lab->pid == 0) {
		dup2(in[0], 0);
		dup2(out[1], 1);
		execlp("python3", "python3", "tests/lab/serve.py", lab->dir, (char *)NULL);
		_exit(127);
	}
	close(in[0]);
	close(out[1]);
	lab->hold = in[1];
	FILE *f = fdopen(out[0], "r");
	int r = lab_read_line(f, lab->uri, sizeof(lab->uri));
	if (r == 0)
		r = lab_read_line(f, lab->images, sizeof(lab->images));
	if (r == 0)
		r = lab_read_line(f, lab->kernel, sizeof(lab->kernel));
	if (r == 0)
		r = lab_read_line(f, lab->initrd, sizeof(lab->initrd));
	fclose(f);
	return r;
}

static inline int lab_libvirt_stop(struct lab_libvirt *lab)
{
	close(lab->hold);
	waitpid(lab->pid, NULL, 0);
	return LAB_RUN("rm", "-rf", lab->dir);
}
