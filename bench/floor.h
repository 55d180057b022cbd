/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LCT_BENCH_FLOOR_H
#define LCT_BENCH_FLOOR_H

/*
 * What a signature costs at the least: the TPM's commands as bytes that were made before, through
 * the TCTI, with a P-256 key that is loaded and sessions that are open. Any failure ends the
 * program with a sentence.
 */
enum floor_kind {
    FLOOR_SIGN,      /* TPM2_Sign, password session */
    FLOOR_VERIFIED,  /* the same, and a signature verified in software, as each of ours is */
    FLOOR_HMAC,      /* TPM2_Sign in an HMAC session, whose arithmetic is done by hand */
    FLOOR_LITERAL,   /* TPM2_PolicyPCR, TPM2_PolicyOR, TPM2_Sign */
    FLOOR_APPROVED,  /* TPM2_PolicyPCR, TPM2_PolicyAuthorize, TPM2_PolicyOR, TPM2_Sign */
    FLOOR_SHORT,     /* all that one signature of an unsealed key takes: Load, Sign, FlushContext */
    FLOOR_CREATE,    /* TPM2_Create of such a key, under the storage root key at 0x81000001 */
    FLOOR_CREATE_RSA /* the same, of an RSA-2048 key */
};

struct floor;

/* A connection of its own by `tcti`, and what the kind takes. */
struct floor *floor_open(const char *tcti, enum floor_kind kind);

/* One signature, or one creation. */
void floor_operate(struct floor *floor);

/* Leaves nothing in the TPM. */
void floor_close(struct floor *floor);

#endif
