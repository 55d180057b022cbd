/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LCT_PROOF_ANCHOR_H
#define LCT_PROOF_ANCHOR_H

#include "base/error.h"

#include <openssl/types.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What is trusted because a file of the configuration says so. */
struct lct_anchor {
    X509 *certificate; /* NULL: it is a bare public key */
    EVP_PKEY *pkey;    /* only where keys are asked for */
};

/* Zero is none. */
struct lct_anchors {
    size_t num;
    struct lct_anchor *all;
};

enum { LCT_MAX_ANCHORS = 4096, LCT_MAX_ANCHOR_FILE = 1 << 20 };

/*
 * Adds those of a file: certificates and, if `keys`, public keys, in PEM, one or more, or one
 * certificate in DER. Or of a directory: of each file *.pem, *.crt and *.cer in it whose name does
 * not begin with a dot, in the order of their names. lct_anchors_clear frees them, after an error,
 * too. LCT_ERR_CONFIG, in a sentence that names the file: it cannot be read, holds none, one that
 * is damaged, a private key or something else, or, where keys are asked for, a key of a kind that
 * lct_ak_check_identity refuses; there are more than LCT_MAX_ANCHORS in all.
 */
enum lct_code lct_anchors_read(struct lct_anchors *anchors, OSSL_LIB_CTX *libctx, const char *path,
                               bool keys, struct lct_err *err);
void lct_anchors_clear(struct lct_anchors *anchors);

/* A regular file of the configuration, LCT_MAX_ANCHOR_FILE bytes at most. The caller frees *bytes,
 * which a NUL follows. LCT_ERR_CONFIG; LCT_ERR_INTERNAL. */
enum lct_code lct_anchor_read_file(uint8_t **bytes, size_t *bytes_len, const char *path,
                                   struct lct_err *err);

#endif
