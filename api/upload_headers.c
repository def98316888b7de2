/* SPDX-License-Identifier: Apache-2.0 */
/* What the headers of an upload say: length, place in the whole, digest. */
#include <sodium.h>
#include <string.h>
#include <strings.h>

#include "api/exchange.h"
#include "api/upload.h"
#include "base/str.h"

#define SHA256_BYTES 32

int64_t request_content_length(const struct request *rq)
{
	long long length;
	const char *text = rq->exchange->headers[HEADER_CONTENT_LENGTH];
	if (text)
		return str_to_int64(text, &length) && length >= 0 ? length : -1;
	return rq->exchange->has_body ? -1 : 0;
}

/* The digits at *at; no sign, no overflow. */
static bool take_number(const char **at, int64_t *ret_number)
{
	int64_t number = 0;
	size_t digits = strspn(*at, "0123456789");
	if (digits == 0 || digits > 18)
		return false;
	for (size_t i = 0; i < digits; i++)
		number = number * 10 + ((*at)[i] - '0');
	*at += digits;
	*ret_number = number;
	return true;
}

static bool take_text(const char **at, const char *text)
{
	size_t len = strlen(text);
	if (strncmp(*at, text, len) != 0)
		return false;
	*at += len;
	return true;
}

int content_range_parse(const char *text, struct content_range *ret_range, struct err *e)
{
	struct content_range range = {.total = -1};
	const char *at = text;
	bool is_good = take_text(&at, "bytes ") && take_number(&at, &range.first) &&
	               take_text(&at, "-") && take_number(&at, &range.last) && take_text(&at, "/");
	is_good = is_good && (take_text(&at, "*") || take_number(&at, &range.total)) && *at == '\0';
	if (!is_good || range.last < range.first || (range.total >= 0 && range.last >= range.total))
		return err_set(e, ERR_MALFORMED,
		        "the Content-Range is %.80s, it must be like bytes 0-1023/4096 or bytes "
		        "0-1023/*",
		        text);
	*ret_range = range;
	return 0;
}

int request_content_range(
        const struct request *rq, struct content_range *ret_range, bool *ret_has, struct err *e)
{
	const char *text = rq->exchange->headers[HEADER_CONTENT_RANGE];
	*ret_has = text;
	return text ? content_range_parse(text, ret_range, e) : 0;
}

/* A byte sequence of RFC 8941: base64 between colons. */
static bool decode_bytes(const char *text, size_t len, unsigned char ret_sha256[SHA256_BYTES])
{
	size_t n = 0;
	const char *end = NULL;
	if (len < 2 || text[0] != ':' || text[len - 1] != ':')
		return false;
	return sodium_base642bin(ret_sha256, SHA256_BYTES, text + 1, len - 2, NULL, &n, &end,
	               sodium_base64_VARIANT_ORIGINAL) == 0 &&
	       n == SHA256_BYTES && end == text + len - 1;
}

int content_digest_parse(const char *text, unsigned char ret_sha256[SHA256_BYTES], struct err *e)
{
	for (const char *at = text; *at;) {
		at += strspn(at, " \t,");
		size_t len = strcspn(at, ",");
		while (len > 0 && strchr(" \t", at[len - 1]))
			len--;
		if (len >= 8 && strncmp(at, "sha-256=", 8) == 0)
			return decode_bytes(at + 8, len - 8, ret_sha256)
			               ? 0
			               : err_set(e, ERR_MALFORMED,
			                         "the sha-256 in Content-Digest must be 32 bytes "
			                         "as "
			                         ":BASE64:");
		at += strcspn(at, ",");
	}
	err_set(e, ERR_UNSUPPORTED,
	        "the Content-Digest has no sha-256, and others are not checked");
	return err_hint(e, "send sha-256=:BASE64:, or leave the header out");
}

int request_content_digest(const struct request *rq, unsigned char ret_sha256[SHA256_BYTES],
        bool *ret_has, struct err *e)
{
	const char *text = rq->exchange->headers[HEADER_CONTENT_DIGEST];
	*ret_has = text;
	return text ? content_digest_parse(text, ret_sha256, e) : 0;
}
