/* SPDX-License-Identifier: Apache-2.0 */
/*
 * guestctl.c - what a test can ask of the test guest, from inside it. Single-threaded.
 *
 *   guestctl COMMAND [ARGUMENT...]   one command, one line of answer (the agent's way: guest-exec)
 *   guestctl serve                   the same on a terminal, one command per line, for ever
 *
 * Every answer is one line: "OK key=value ..." or "ERR what is wrong". `serve` runs each command in
 * a child of its own, so that the kernel's out-of-memory killer never takes the console away.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ifaddrs.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <arpa/inet.h>
#include <net/if.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#define MIB       ((uint64_t)1 << 20)
#define BLOCK     4096
#define HOLDERS   "/run/held"
#define MAX_WORDS 8

struct reply {
	char text[4096];
	size_t len;
};

struct command {
	const char *name;
	const char *usage;
	int min_args;
	int max_args;
	int (*run)(char **args, struct reply *r);
	void (*after)(void); /* once the answer is out: for what ends the guest */
};

/* ------------------------------------------------------------------ answers and arguments */

static void __attribute__((format(printf, 2, 3))) reply_add(struct reply *r, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	int n = vsnprintf(r->text + r->len, sizeof(r->text) - r->len, fmt, ap);
	va_end(ap);
	if (n > 0) {
		size_t room = sizeof(r->text) - 1 - r->len;

		r->len += (size_t)n < room ? (size_t)n : room;
	}
}

static int __attribute__((format(printf, 2, 3))) reply_fail(struct reply *r, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(r->text, sizeof(r->text), fmt, ap);
	va_end(ap);
	return -1;
}

static int parse_number(const char *word, uint64_t max, uint64_t *ret, struct reply *r)
{
	char *end;

	errno = 0;
	uint64_t n = strtoull(word, &end, 10);
	if (errno || end == word || *end || *word == '-' || n > max)
		return reply_fail(r, "%s is not a number from 0 to %" PRIu64, word, max);
	*ret = n;
	return 0;
}

/* Reads the first line of a small file without its newline; -1 when it cannot be read. */
static int read_line(const char *path, char *buf, size_t size)
{
	FILE *f = fopen(path, "re");
	bool ok = f && fgets(buf, (int)size, f);

	if (f)
		fclose(f);
	if (!ok)
		return -1;
	buf[strcspn(buf, "\n")] = '\0';
	return 0;
}

/* ------------------------------------------------------------------ the pattern */

/* splitmix64, by Sebastiano Vigna (public domain): spreads (seed, block) over 64 bits. */
static uint64_t mix(uint64_t x)
{
	x += 0x9e3779b97f4a7c15U;
	x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9U;
	x = (x ^ (x >> 27)) * 0x94d049bb133111ebU;
	return x ^ (x >> 31);
}

/* Fills one block that neither compresses nor repeats, given by the seed and the block's number. */
static void pattern_block(uint64_t seed, uint64_t number, uint64_t out[BLOCK / 8])
{
	uint64_t x = mix(seed ^ mix(number)) | 1;

	for (size_t i = 0; i < BLOCK / 8; i++) { /* xorshift64 */
		x ^= x << 13;
		x ^= x >> 7;
		x ^= x << 17;
		out[i] = x;
	}
}

static int write_all(int fd, const void *data, size_t len, off_t offset)
{
	const char *p = data;

	while (len > 0) {
		ssize_t n = pwrite(fd, p, len, offset);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return -1;
		p += n;
		offset += n;
		len -= (size_t)n;
	}
	return 0;
}

/* Writes the pattern to [offset, offset + length): overlapping writes of one seed agree. */
static int pattern_write(int fd, uint64_t seed, uint64_t offset, uint64_t length)
{
	uint64_t block[BLOCK / 8];

	while (length > 0) {
		uint64_t skip = offset % BLOCK;
		uint64_t n = BLOCK - skip < length ? BLOCK - skip : length;

		pattern_block(seed, offset / BLOCK, block);
		if (write_all(fd, (char *)block + skip, n, (off_t)offset) < 0)
			return -1;
		offset += n;
		length -= n;
	}
	return 0;
}

/* ------------------------------------------------------------------ memory */

/*
 * Memory is held by processes that touch it and sleep; each has a file HOLDERS/PID with its size.
 * When memory runs out the kernel kills a holder first, which gives the memory back.
 */

static bool process_lives(pid_t pid)
{
	char path[64];
	char line[256];

	snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	if (read_line(path, line, sizeof(line)) < 0)
		return false;
	const char *name_end = strrchr(line, ')');
	return name_end && name_end[1] == ' ' && name_end[2] != 'Z'; /* a zombie holds nothing */
}

static uint64_t holder_mib(const char *pid_word)
{
	char path[320];
	char line[32];
	pid_t pid = (pid_t)strtol(pid_word, NULL, 10);

	snprintf(path, sizeof(path), HOLDERS "/%s", pid_word);
	if (pid <= 0 || read_line(path, line, sizeof(line)) < 0)
		return 0;
	if (process_lives(pid))
		return strtoull(line, NULL, 10);
	unlink(path);
	return 0;
}

/* The sum of what living holders hold; with `end` they are killed on the way. */
static uint64_t held_mib(bool end)
{
	DIR *dir = opendir(HOLDERS);
	uint64_t sum = 0;

	for (struct dirent *e = dir ? readdir(dir) : NULL; e; e = readdir(dir)) {
		uint64_t mib = holder_mib(e->d_name);

		sum += mib;
		if (end && mib > 0)
			kill((pid_t)strtol(e->d_name, NULL, 10), SIGKILL);
	}
	if (dir)
		closedir(dir);
	return sum;
}

/* Kills the holders and waits until they are gone, and with them their memory. */
static void holders_end(void)
{
	struct timespec pause = {.tv_nsec = 10 * 1000 * 1000};

	while (held_mib(/* end= */ true) > 0)
		nanosleep(&pause, NULL);
}

static void sleep_until(const struct timespec *begin, uint64_t done, uint64_t per_second)
{
	uint64_t ns = done * 1000 / per_second * 1000000 + (uint64_t)begin->tv_nsec;
	struct timespec at = {.tv_sec = begin->tv_sec + (time_t)(ns / 1000000000),
	        .tv_nsec = (long)(ns % 1000000000)};

	clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &at, NULL);
}

static int write_word(const char *path, const char *word)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	bool ok = fd >= 0 && write(fd, word, strlen(word)) == (ssize_t)strlen(word);

	if (fd >= 0)
		close(fd);
	return ok ? 0 : -1;
}

/* Touches `mib`, at `rate` MiB per second (0: as fast as it goes). */
static void holder_touch(char *memory, uint64_t mib, uint64_t rate)
{
	struct timespec begin;
	uint64_t seed;

	if (getrandom(&seed, sizeof(seed), GRND_NONBLOCK) != sizeof(seed))
		seed = (uint64_t)time(NULL);
	clock_gettime(CLOCK_MONOTONIC, &begin);
	for (uint64_t done = 0; done < mib; done++) {
		for (uint64_t i = 0; i < MIB / BLOCK; i++)
			pattern_block(seed, done * (MIB / BLOCK) + i,
			        (uint64_t *)(void *)(memory + done * MIB + i * BLOCK));
		if (rate)
			sleep_until(&begin, done + 1, rate);
	}
}

/* The holder's whole life: out of the caller's session and pipes, touch, report, sleep. */
static void __attribute__((noreturn)) holder_run(uint64_t mib, uint64_t rate, int report_fd)
{
	char path[64];
	char size[32];
	int null = open("/dev/null", O_RDWR);

	setsid();
	for (int fd = 0; fd < 3; fd++)
		dup2(null, fd);
	snprintf(path, sizeof(path), HOLDERS "/%d", (int)getpid());
	snprintf(size, sizeof(size), "%" PRIu64 "\n", mib);
	void *memory = mmap(NULL, mib * MIB, PROT_READ | PROT_WRITE,
	        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (memory == MAP_FAILED || write_word("/proc/self/oom_score_adj", "1000") < 0 ||
	        write_word(path, size) < 0)
		_exit(1);
	holder_touch(memory, mib, rate);
	(void)!write(report_fd, "", 1);
	close(report_fd);
	for (;;)
		pause();
}

/* Starts a holder and waits until it has touched everything; -1 when it died before. */
static int holder_start(uint64_t mib, uint64_t rate)
{
	int fds[2];
	char byte;

	if (pipe2(fds, O_CLOEXEC) < 0)
		return -1;
	pid_t pid = fork();
	if (pid == 0)
		holder_run(mib, rate, fds[1]);
	close(fds[1]);
	bool ok = pid > 0 && read(fds[0], &byte, 1) == 1;
	close(fds[0]);
	if (!ok && pid > 0)
		waitpid(pid, NULL, 0);
	return ok ? 0 : -1;
}

static int fill(const char *mib_word, const char *rate_word, struct reply *r)
{
	uint64_t mib;
	uint64_t rate = 0;

	if (parse_number(mib_word, 1 << 20, &mib, r) < 0)
		return -1;
	if (rate_word && parse_number(rate_word, 1 << 20, &rate, r) < 0)
		return -1;
	mkdir(HOLDERS, 0700);
	if (held_mib(/* end= */ false) > mib)
		holders_end();
	uint64_t held = held_mib(/* end= */ false);
	if (mib > held && holder_start(mib - held, rate) < 0)
		return reply_fail(r, "the kernel killed the holder of %" PRIu64 " MiB", mib - held);
	reply_add(r, " held_kib=%" PRIu64, held_mib(/* end= */ false) * 1024);
	return 0;
}

static int run_memory_fill(char **args, struct reply *r)
{
	return fill(args[0], NULL, r);
}

static int run_memory_fill_rate(char **args, struct reply *r)
{
	return fill(args[0], args[1], r);
}

static int run_memory_free(char **args, struct reply *r)
{
	(void)args;
	(void)r;
	holders_end();
	return 0;
}

static int run_memory_info(char **args, struct reply *r)
{
	static const struct {
		const char *label;
		const char *key;
	} wanted[] = {{"MemTotal", "total_kib"}, {"MemFree", "free_kib"},
	        {"MemAvailable", "available_kib"}};
	char label[64];
	uint64_t kib;
	FILE *f = fopen("/proc/meminfo", "re");

	(void)args;
	if (!f)
		return reply_fail(r, "/proc/meminfo: %s", strerror(errno));
	while (fscanf(f, "%63[^:]: %" SCNu64 "%*[^\n]\n", label, &kib) == 2)
		for (size_t i = 0; i < sizeof(wanted) / sizeof(wanted[0]); i++)
			if (strcmp(label, wanted[i].label) == 0)
				reply_add(r, " %s=%" PRIu64, wanted[i].key, kib);
	fclose(f);
	reply_add(r, " held_kib=%" PRIu64, held_mib(/* end= */ false) * 1024);
	return 0;
}

/* ------------------------------------------------------------------ disks */

struct area {
	char path[64];
	uint64_t offset;
	uint64_t length;
};

static int disk_size(const char *name, uint64_t *ret)
{
	char path[128];
	char line[32];

	snprintf(path, sizeof(path), "/sys/class/block/%s/size", name);
	if (read_line(path, line, sizeof(line)) < 0)
		return -1;
	*ret = strtoull(line, NULL, 10) * 512;
	return 0;
}

/* Checks DEV OFFSET LENGTH; the name reaches a shell later, so only kernel-like names pass. */
static int parse_area(char **args, struct area *a, struct reply *r)
{
	const char *name = strncmp(args[0], "/dev/", 5) == 0 ? args[0] + 5 : args[0];
	uint64_t size;

	if (!*name || strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789") != strlen(name) ||
	        strlen(name) > 32 || disk_size(name, &size) < 0)
		return reply_fail(r, "no such disk: %s", args[0]);
	if (parse_number(args[1], size, &a->offset, r) < 0 ||
	        parse_number(args[2], size - a->offset, &a->length, r) < 0)
		return -1;
	snprintf(a->path, sizeof(a->path), "/dev/%s", name);
	return 0;
}

static int run_disk_write(char **args, struct reply *r)
{
	struct area a;
	uint64_t seed;

	if (parse_area(args, &a, r) < 0 || parse_number(args[3], UINT64_MAX, &seed, r) < 0)
		return -1;
	int fd = open(a.path, O_WRONLY | O_CLOEXEC);
	if (fd < 0 || pattern_write(fd, seed, a.offset, a.length) < 0 || fsync(fd) < 0)
		return reply_fail(r, "writing %s: %s", a.path, strerror(errno));
	close(fd);
	return 0;
}

/* Two digits as a byte; -1 when they are none. */
static int hex_byte(const char *digits)
{
	static const char alphabet[] = "0123456789abcdef";
	const char *high = digits[0] ? strchr(alphabet, digits[0]) : NULL;
	const char *low = high && digits[1] ? strchr(alphabet, digits[1]) : NULL;

	return low ? (int)((high - alphabet) * 16 + (low - alphabet)) : -1;
}

static int run_disk_put(char **args, struct reply *r)
{
	static unsigned char data[4096];
	char length[16];
	char *area_args[] = {args[0], args[1], length};
	struct area a;
	size_t n = strlen(args[2]) / 2;

	if (n == 0 || strlen(args[2]) % 2 != 0 || n > sizeof(data))
		return reply_fail(r, "give 1 to %zu bytes, two digits each", sizeof(data));
	for (size_t i = 0; i < n; i++) {
		int byte = hex_byte(args[2] + 2 * i);

		if (byte < 0)
			return reply_fail(r, "not hexadecimal (a to f): %.8s", args[2] + 2 * i);
		data[i] = (unsigned char)byte;
	}
	snprintf(length, sizeof(length), "%zu", n);
	if (parse_area(area_args, &a, r) < 0)
		return -1;
	int fd = open(a.path, O_WRONLY | O_CLOEXEC);
	if (fd < 0 || write_all(fd, data, n, (off_t)a.offset) < 0 || fsync(fd) < 0)
		return reply_fail(r, "writing %s: %s", a.path, strerror(errno));
	close(fd);
	return 0;
}

static int run_disk_hash(char **args, struct reply *r)
{
	struct area a;
	char shell[256];
	char hash[80];

	if (parse_area(args, &a, r) < 0)
		return -1;
	int fd = open(a.path, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED) !=
	                      0) /* read the disk, not the cache */
		return reply_fail(r, "opening %s: %s", a.path, strerror(errno));
	close(fd);
	snprintf(shell, sizeof(shell),
	        "set -o pipefail; dd if=%s bs=1M iflag=skip_bytes,count_bytes,fullblock "
	        "skip=%" PRIu64 " count=%" PRIu64 " status=none 2>/dev/null | sha256sum",
	        a.path, a.offset, a.length);
	FILE *f = popen(shell, "re");
	bool ok = f && fscanf(f, "%79s", hash) == 1;
	if (f && pclose(f) != 0)
		ok = false;
	if (!ok)
		return reply_fail(r, "reading %s failed", a.path);
	reply_add(r, " sha256=%s", hash);
	return 0;
}

/* virtio has a file for the serial number, SCSI and SATA a page with a 4-byte header. */
static void disk_serial(const char *name, char *out, size_t size)
{
	char path[320];
	char page[64];

	snprintf(path, sizeof(path), "/sys/block/%s/serial", name);
	if (read_line(path, out, size) == 0)
		return;
	snprintf(path, sizeof(path), "/sys/block/%s/device/vpd_pg80", name);
	out[0] = '\0';
	FILE *f = fopen(path, "re");
	if (!f)
		return;
	size_t n = fread(page, 1, sizeof(page) - 1, f);
	fclose(f);
	page[n] = '\0';
	if (n > 4)
		snprintf(out, size, "%s", page + 4 + strspn(page + 4, " "));
}

static int run_disks(char **args, struct reply *r)
{
	struct dirent **names;
	int n = scandir("/sys/block", &names, NULL, alphasort);

	(void)args;
	for (int i = 0; i < n; i++) {
		const char *name = names[i]->d_name;
		char serial[64];
		uint64_t size;

		if (name[0] != '.' && disk_size(name, &size) == 0 && size > 0) {
			disk_serial(name, serial, sizeof(serial));
			reply_add(r, " %s.size=%" PRIu64 " %s.serial=%s", name, size, name, serial);
		}
		free(names[i]);
	}
	if (n >= 0)
		free(names);
	return 0;
}

/* ------------------------------------------------------------------ network, CPUs, time */

static int run_mac(char **args, struct reply *r)
{
	struct if_nameindex *all = if_nameindex();

	(void)args;
	for (struct if_nameindex *i = all; i && i->if_name; i++) {
		char path[64];
		char mac[32];

		snprintf(path, sizeof(path), "/sys/class/net/%s/address", i->if_name);
		if (strcmp(i->if_name, "lo") != 0 && read_line(path, mac, sizeof(mac)) == 0)
			reply_add(r, " %s=%s", i->if_name, mac);
	}
	if_freenameindex(all);
	return 0;
}

static unsigned int prefix_length(const struct sockaddr *mask)
{
	struct sockaddr_in in;

	memcpy(&in, mask, sizeof(in));
	return (unsigned int)__builtin_popcount(in.sin_addr.s_addr);
}

static int run_ip(char **args, struct reply *r)
{
	struct ifaddrs *all;
	bool any = false;

	(void)args;
	if (getifaddrs(&all) < 0)
		return reply_fail(r, "getifaddrs: %s", strerror(errno));
	for (struct ifaddrs *i = all; i; i = i->ifa_next) {
		char text[INET_ADDRSTRLEN];
		struct sockaddr_in in;

		if (!i->ifa_addr || i->ifa_addr->sa_family != AF_INET ||
		        strcmp(i->ifa_name, "lo") == 0)
			continue;
		memcpy(&in, i->ifa_addr, sizeof(in));
		inet_ntop(AF_INET, &in.sin_addr, text, sizeof(text));
		reply_add(r, " %s=%s/%u", i->ifa_name, text, prefix_length(i->ifa_netmask));
		any = true;
	}
	freeifaddrs(all);
	return any ? 0 : reply_fail(r, "no address yet");
}

static int run_cpus(char **args, struct reply *r)
{
	(void)args;
	reply_add(r, " online=%ld", sysconf(_SC_NPROCESSORS_ONLN));
	return 0;
}

static int run_time(char **args, struct reply *r)
{
	struct timespec now;
	struct timespec up;

	(void)args;
	clock_gettime(CLOCK_REALTIME, &now);
	clock_gettime(CLOCK_BOOTTIME, &up);
	reply_add(r, " unix=%lld.%03ld uptime=%lld.%03ld", (long long)now.tv_sec,
	        now.tv_nsec / 1000000, (long long)up.tv_sec, up.tv_nsec / 1000000);
	return 0;
}

static int run_nothing(char **args, struct reply *r)
{
	(void)args;
	(void)r;
	return 0;
}

/* ------------------------------------------------------------------ standing still */

static uint64_t monotonic_us(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

/* Looks at the clock all the time, or (fd >= 0) after each of many small writes that wait for the disk. */
static int tick(int fd, uint64_t duration_us, struct reply *r)
{
	static _Alignas(BLOCK) unsigned char block[BLOCK];
	uint64_t begin = monotonic_us();
	uint64_t last = begin;
	uint64_t longest = 0;
	uint64_t count = 0;

	while (last - begin < duration_us) {
		if (fd >= 0 && pwrite(fd, block, BLOCK, 0) != BLOCK)
			return reply_fail(r, "writing: %s", strerror(errno));
		uint64_t now = monotonic_us();

		longest = now - last > longest ? now - last : longest;
		last = now;
		count++;
	}
	reply_add(r, " longest_us=%" PRIu64 " count=%" PRIu64, longest, count);
	return 0;
}

static int run_ticks(char **args, struct reply *r)
{
	char zero[] = "0", size[] = "4096";
	char *area_args[] = {args[1], zero, size};
	struct area a;
	uint64_t seconds;

	if (parse_number(args[0], 3600, &seconds, r) < 0)
		return -1;
	if (!args[1])
		return tick(-1, seconds * 1000000, r);
	if (parse_area(area_args, &a, r) < 0)
		return -1;
	int fd = open(a.path, O_WRONLY | O_DIRECT | O_DSYNC | O_CLOEXEC);
	if (fd < 0)
		return reply_fail(r, "opening %s: %s", a.path, strerror(errno));
	int rc = tick(fd, seconds * 1000000, r);
	close(fd);
	return rc;
}

/* ------------------------------------------------------------------ the end of the guest */

static void end_by_crash(void)
{
	int fd = open("/proc/sysrq-trigger", O_WRONLY | O_CLOEXEC);

	if (fd >= 0)
		(void)!write(fd, "c", 1);
}

static void end_by_poweroff(void)
{
	kill(1, SIGUSR2); /* busybox init's signals */
}

static void end_by_reboot(void)
{
	kill(1, SIGTERM);
}

/* ------------------------------------------------------------------ dispatch */

static const struct command COMMANDS[] = {
        {"ping", "", 0, 0, run_nothing, NULL},
        {"memory-fill", "MIB", 1, 1, run_memory_fill, NULL},
        {"memory-fill-rate", "MIB MIB_PER_SECOND", 2, 2, run_memory_fill_rate, NULL},
        {"memory-free", "", 0, 0, run_memory_free, NULL},
        {"memory-info", "", 0, 0, run_memory_info, NULL},
        {"cpus", "", 0, 0, run_cpus, NULL},
        {"disks", "", 0, 0, run_disks, NULL},
        {"disk-write", "DEV OFFSET LENGTH SEED", 4, 4, run_disk_write, NULL},
        {"disk-put", "DEV OFFSET HEX", 3, 3, run_disk_put, NULL},
        {"disk-hash", "DEV OFFSET LENGTH", 3, 3, run_disk_hash, NULL},
        {"mac", "", 0, 0, run_mac, NULL},
        {"ip", "", 0, 0, run_ip, NULL},
        {"time", "", 0, 0, run_time, NULL},
        {"ticks", "SECONDS [DEV]", 1, 2, run_ticks, NULL},
        {"crash", "", 0, 0, run_nothing, end_by_crash},
        {"poweroff", "", 0, 0, run_nothing, end_by_poweroff},
        {"reboot", "", 0, 0, run_nothing, end_by_reboot},
};

static const struct command *find_command(const char *name)
{
	for (size_t i = 0; i < sizeof(COMMANDS) / sizeof(COMMANDS[0]); i++)
		if (strcmp(name, COMMANDS[i].name) == 0)
			return &COMMANDS[i];
	return NULL;
}

/* Runs one command and prints its line; the exit status for main. */
static int dispatch(int n, char **words)
{
	const struct command *c = find_command(words[0]);
	struct reply r = {.len = 0};
	int rc;

	if (!c)
		rc = reply_fail(&r, "unknown command: %s", words[0]);
	else if (n - 1 < c->min_args || n - 1 > c->max_args)
		rc = reply_fail(&r, "usage: %s %s", c->name, c->usage);
	else
		rc = c->run(words + 1, &r);
	printf("%s%s\n", rc ? "ERR " : "OK", r.text);
	fflush(stdout);
	if (rc == 0 && c->after) {
		tcdrain(STDOUT_FILENO);
		c->after();
	}
	return rc ? 1 : 0;
}

static void serve_line(char *line)
{
	char *words[MAX_WORDS + 1];
	char *save = NULL;
	int n = 0;
	int status;

	for (char *w = strtok_r(line, " \t\r\n", &save); w && n < MAX_WORDS; n++) {
		words[n] = w;
		w = strtok_r(NULL, " \t\r\n", &save);
	}
	if (n == 0)
		return;
	words[n] = NULL;
	pid_t pid = fork();
	if (pid == 0)
		_exit(dispatch(n, words));
	if (pid < 0 || waitpid(pid, &status, 0) < 0)
		printf("ERR cannot run %s: %s\n", words[0], strerror(errno));
	else if (WIFSIGNALED(status))
		printf("ERR %s was killed by signal %d\n", words[0], WTERMSIG(status));
	fflush(stdout);
}

static int serve(void)
{
	char line[512];
	struct termios t;

	if (tcgetattr(STDIN_FILENO, &t) == 0) { /* no echo: the console shows answers only */
		t.c_lflag &= ~(tcflag_t)(ECHO | ECHONL | ISIG);
		t.c_lflag |= ICANON;
		t.c_iflag |= ICRNL;
		tcsetattr(STDIN_FILENO, TCSANOW, &t);
	}
	puts("BERTH-GUEST READY");
	fflush(stdout);
	while (fgets(line, sizeof(line), stdin))
		serve_line(line);
	return 0; /* init starts it again */
}

int main(int argc, char **argv)
{
	if (argc == 2 && strcmp(argv[1], "serve") == 0)
		return serve();
	if (argc < 2) {
		puts("ERR usage: guestctl COMMAND [ARGUMENT...] | guestctl serve");
		return 1;
	}
	return dispatch(argc - 1, argv + 1);
}
