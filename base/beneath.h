/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Files beneath a directory: whatever name is given and whatever others do to the directory meanwhile, nothing
 * outside it is opened (openat2 with RESOLVE_BENEATH and RESOLVE_NO_SYMLINKS). Blocks; any thread.
 */
#pragma once

#include <stdbool.h>
#include <sys/types.h>

#include "base/err.h"

/* The directory itself, made with mode 0700 if it is missing (its parent must exist); its path is trusted. Negative:
 * error; ERR_HOST_PERMISSION when others may write to it. */
int beneath_open_root(const char *path, struct err *e);
/* An existing directory by its absolute path, of which no component may be a link; who may write to it does not matter. Negative:
 * error; ERR_NOT_FOUND. */
int beneath_open_existing(const char *path, struct err *e);
/* A directory in it, made with mode 0700 if it is missing. */
int beneath_open_directory(int root_fd, const char *name, struct err *e);
/* A plain file, never a link, device or pipe; `flags` as of open, files are made with mode 0600. Negative: error;
 * ERR_NOT_FOUND. */
int beneath_open(int directory_fd, const char *name, int flags, struct err *e);
/* Missing: success. */
int beneath_unlink(int directory_fd, const char *name, struct err *e);
int beneath_rename(int from_fd, const char *from, int to_fd, const char *to, struct err *e);
/* Makes what was made, renamed or removed in the directory durable. */
int beneath_sync_directory(int directory_fd, struct err *e);
