/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Certificate and key, replaced while connections go on. gnutls asks for the pair at each handshake
 * and uses it until the handshake ends, so a replaced pair is kept until no handshake can have it
 * any more.
 */
#include <stdlib.h>
#include <string.h>

#include "api/server_internal.h"
#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/clock.h"

#define CHAIN_MAX  16
#define RETIRED_MS 600000 /* far beyond any handshake: the header deadline covers it */

struct pair {
	struct pair *next; /* older */
	int64_t retired_ms;
	gnutls_pcert_st chain[CHAIN_MAX];
	unsigned int chain_len;
	gnutls_privkey_t key;
};

struct server_tls {
	char *certificate, *key; /* owned: file names */
};

/* gnutls' callback has no argument for us, so there is one certificate per process. Guarded by
 * `lock`. */
static struct {
	pthread_mutex_t lock;
	struct pair *current;
} store = {.lock = PTHREAD_MUTEX_INITIALIZER};

static void pair_free(struct pair *p)
{
	if (!p)
		return;
	for (unsigned int i = 0; i < p->chain_len; i++)
		gnutls_pcert_deinit(&p->chain[i]);
	if (p->key)
		gnutls_privkey_deinit(p->key);
	free(p);
}
CLEANUP_DEFINE(struct pair, pair_free);

static int load_file(const char *path, gnutls_datum_t *ret_data, struct err *e)
{
	int failed = gnutls_load_file(path, ret_data);
	if (failed < 0)
		return err_set(e, ERR_INVALID, "cannot read %s: %s", path, gnutls_strerror(failed));
	return 0;
}

static int load_chain(struct pair *p, const char *path, struct err *e)
{
	gnutls_datum_t data = {0};
	int rc = load_file(path, &data, e);
	if (rc < 0)
		return rc;
	unsigned int n = CHAIN_MAX;
	int failed = gnutls_pcert_list_import_x509_raw(p->chain, &n, &data, GNUTLS_X509_FMT_PEM, 0);
	gnutls_free(data.data);
	if (failed < 0)
		return err_set(
		        e, ERR_INVALID, "no certificate in %s: %s", path, gnutls_strerror(failed));
	p->chain_len = n;
	return 0;
}

static int load_key(struct pair *p, const char *path, struct err *e)
{
	gnutls_datum_t data = {0};
	int rc = load_file(path, &data, e);
	if (rc < 0)
		return rc;
	gnutls_privkey_init(&p->key);
	int failed = gnutls_privkey_import_x509_raw(p->key, &data, GNUTLS_X509_FMT_PEM, NULL, 0);
	gnutls_memset(data.data, 0, data.size);
	gnutls_free(data.data);
	if (failed < 0)
		return err_set(
		        e, ERR_INVALID, "no private key in %s: %s", path, gnutls_strerror(failed));
	return 0;
}

/* A certificate that does not belong to the key would fail each handshake. */
static int check_pair(struct pair *p, struct err *e)
{
	gnutls_pubkey_t from_key;
	gnutls_pubkey_init(&from_key);
	unsigned char a[64] = {0}, b[64] = {0};
	size_t a_len = sizeof(a), b_len = sizeof(b);
	int failed = gnutls_pubkey_import_privkey(from_key, p->key, 0, 0);
	if (failed >= 0)
		failed = gnutls_pubkey_get_key_id(from_key, GNUTLS_KEYID_USE_SHA256, a, &a_len);
	if (failed >= 0)
		failed = gnutls_pubkey_get_key_id(
		        p->chain[0].pubkey, GNUTLS_KEYID_USE_SHA256, b, &b_len);
	gnutls_pubkey_deinit(from_key);
	if (failed < 0 || a_len != b_len || memcmp(a, b, a_len) != 0)
		return err_set(e, ERR_INVALID, "the certificate does not belong to the key");
	return 0;
}

static int load_pair(const struct server_tls *tls, struct pair **ret_pair, struct err *e)
{
	CLEANUP(cleanup_pair_free) struct pair *p = xcalloc(1, sizeof(*p));
	int rc = load_chain(p, tls->certificate, e);
	if (rc == 0)
		rc = load_key(p, tls->key, e);
	if (rc == 0)
		rc = check_pair(p, e);
	if (rc < 0)
		return rc;
	*ret_pair = TAKE(p);
	return 0;
}

/* Frees the pairs retired long ago. Under the lock. */
static void forget_old(struct pair *newest, int64_t before_ms)
{
	struct pair **slot = &newest->next;
	while (*slot) {
		struct pair *p = *slot;
		if (p->retired_ms >= before_ms) {
			slot = &p->next;
			continue;
		}
		*slot = p->next;
		pair_free(p);
	}
}

int server_tls_reload(struct server_tls *tls, struct err *e)
{
	struct pair *fresh = NULL;
	int rc = load_pair(tls, &fresh, e);
	if (rc < 0)
		return rc;
	int64_t now_ms = clock_now_ms();
	LOCK_SCOPE(&store.lock);
	fresh->next = store.current;
	if (fresh->next)
		fresh->next->retired_ms = now_ms;
	store.current = fresh;
	forget_old(fresh, now_ms - RETIRED_MS);
	return 0;
}

int server_tls_retrieve(gnutls_session_t session, const gnutls_datum_t *authorities,
        int n_authorities, const gnutls_pk_algorithm_t *algorithms, int n_algorithms,
        gnutls_pcert_st **ret_chain, unsigned int *ret_chain_len, gnutls_privkey_t *ret_key)
{
	(void)session, (void)authorities, (void)n_authorities, (void)algorithms, (void)n_algorithms;
	LOCK_SCOPE(&store.lock);
	if (!store.current)
		return -1;
	*ret_chain = store.current->chain;
	*ret_chain_len = store.current->chain_len;
	*ret_key = store.current->key;
	return 0;
}

void server_tls_free(struct server_tls *tls)
{
	if (!tls)
		return;
	pthread_mutex_lock(&store.lock);
	while (store.current) {
		struct pair *p = store.current;
		store.current = p->next;
		pair_free(p);
	}
	pthread_mutex_unlock(&store.lock);
	free(tls->certificate);
	free(tls->key);
	free(tls);
}
CLEANUP_DEFINE(struct server_tls, server_tls_free);

int server_tls_new(
        const char *certificate, const char *key, struct server_tls **ret_tls, struct err *e)
{
	CLEANUP(cleanup_server_tls_free) struct server_tls *tls = xcalloc(1, sizeof(*tls));
	tls->certificate = xstrdup(certificate);
	tls->key = xstrdup(key);
	int rc = server_tls_reload(tls, e);
	if (rc < 0)
		return rc;
	*ret_tls = TAKE(tls);
	return 0;
}
