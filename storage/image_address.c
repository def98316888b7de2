/* SPDX-License-Identifier: Apache-2.0 */
/* Which addresses and URLs images may be fetched from (RFC 6890 and IANA's special-purpose registries). */
#include "storage/image_address.h"

#include <curl/curl.h>
#include <netinet/in.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/str.h"

struct block4 {
	unsigned char bytes[4];
	int prefix;
};
static const struct block4 special4[] = {
        {{0}, 8},             /* this network */
        {{10}, 8},            /* private */
        {{100, 64}, 10},      /* carrier-grade NAT */
        {{127}, 8},           /* loopback */
        {{169, 254}, 16},     /* link-local */
        {{172, 16}, 12},      /* private */
        {{192, 0, 0}, 24},    /* protocol assignments */
        {{192, 0, 2}, 24},    /* documentation */
        {{192, 31, 196}, 24}, /* AS112 */
        {{192, 52, 193}, 24}, /* AMT */
        {{192, 88, 99}, 24},  /* 6to4 relays */
        {{192, 168}, 16},     /* private */
        {{192, 175, 48}, 24}, /* AS112 */
        {{198, 18}, 15},      /* benchmarks */
        {{198, 51, 100}, 24}, /* documentation */
        {{203, 0, 113}, 24},  /* documentation */
        {{224}, 3},           /* multicast, reserved, broadcast */
};

struct block6 {
	unsigned char bytes[16];
	int prefix;
};
/* All that is not global unicast (2000::/3), and what is special within. */
static const struct block6 special6[] = {
        {{0x20, 0x01}, 23},                   /* protocol assignments, Teredo among them */
        {{0x20, 0x01, 0x0d, 0xb8}, 32},       /* documentation */
        {{0x26, 0x20, 0x00, 0x4f, 0x80}, 48}, /* AS112 */
        {{0x3f, 0xff}, 20},                   /* documentation */
};
static const struct block6 global6 = {{0x20}, 3};
static const struct block6 mapped6 = {{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff}, 96};
static const struct block6 nat64 = {{0x00, 0x64, 0xff, 0x9b}, 96};
static const struct block6 six_to_four = {{0x20, 0x02}, 16};

static bool is_within(const unsigned char *address, const unsigned char *block, int prefix)
{
	int whole = prefix / 8, rest = prefix % 8;
	if (memcmp(address, block, (size_t)whole) != 0)
		return false;
	unsigned mask = 0xffU << (8 - rest) & 0xffU;
	return rest == 0 || (address[whole] & mask) == (block[whole] & mask);
}

static bool is_public4(const unsigned char *address)
{
	for (size_t i = 0; i < ARRAY_LEN(special4); i++)
		if (is_within(address, special4[i].bytes, special4[i].prefix))
			return false;
	return true;
}

static bool is_public6(const unsigned char *address)
{
	if (is_within(address, mapped6.bytes, mapped6.prefix) ||
	        is_within(address, nat64.bytes, nat64.prefix))
		return is_public4(address + 12);
	if (is_within(address, six_to_four.bytes, six_to_four.prefix))
		return is_public4(address + 2);
	for (size_t i = 0; i < ARRAY_LEN(special6); i++)
		if (is_within(address, special6[i].bytes, special6[i].prefix))
			return false;
	return is_within(address, global6.bytes, global6.prefix);
}

bool image_address_is_public(const struct sockaddr *address, socklen_t len)
{
	if (address->sa_family == AF_INET && len >= sizeof(struct sockaddr_in)) {
		struct sockaddr_in in;
		memcpy(&in, address, sizeof(in));
		return is_public4((const unsigned char *)&in.sin_addr);
	}
	if (address->sa_family == AF_INET6 && len >= sizeof(struct sockaddr_in6)) {
		struct sockaddr_in6 in6;
		memcpy(&in6, address, sizeof(in6));
		return is_public6((const unsigned char *)&in6.sin6_addr);
	}
	return false;
}

static void cleanup_url(CURLU **url)
{
	curl_url_cleanup(*url);
}

static bool has_part(CURLU *url, CURLUPart which)
{
	char *text = NULL;
	bool has = curl_url_get(url, which, &text, 0) == CURLUE_OK && !str_is_empty(text);
	curl_free(text);
	return has;
}

int image_url_check(const char *url, struct err *e)
{
	CURLU *parsed CLEANUP(cleanup_url) = curl_url();
	if (!parsed || curl_url_set(parsed, CURLUPART_URL, url, 0) != CURLUE_OK)
		return err_set_at(e, ERR_INVALID, "/url", "must be a URL");
	if (!str_starts_with(url, "http://") && !str_starts_with(url, "https://"))
		return err_set_at(e, ERR_INVALID, "/url", "must begin with http:// or https://");
	if (has_part(parsed, CURLUPART_USER) || has_part(parsed, CURLUPART_PASSWORD))
		return err_set_at(e, ERR_INVALID, "/url", "must not hold a user or a password");
	if (!has_part(parsed, CURLUPART_HOST))
		return err_set_at(e, ERR_INVALID, "/url", "must name a host");
	return 0;
}
