/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LCT_STORE_PIN_H
#define LCT_STORE_PIN_H

#include "base/error.h"
#include "store/store.h"
#include "tpm/tpm.h"

#include <stdbool.h>

/*
 * The storage root key that the keys of a store are under. Who answers in the TPM's place can name
 * one of its own, to which what is secret would be encrypted: so it has to be one that the store
 * knows, if it knows any. It knows the Name in the file <dir>/.parent, in hexadecimal, and those in
 * the records of its identities. The file is there so that records need not be looked at: it has
 * what was taken last, is written anew where it is missing, and where it cannot be, the records
 * are asked again. `dir` is the store that new identities go to.
 */
struct lct_pin {
    const struct lct_store *store;
    bool new_parent; /* the user says that the TPM was cleared or replaced: any will do */
};

/* lct_tpm_create under such a one. LCT_ERR_OTHER_TPM: it is another one, and nothing was made
 * under it; LCT_ERR_BAD_RECORD, LCT_ERR_STORE: the file is damaged, or may not be read. */
enum lct_code lct_pin_create(struct lct_tpm *tpm, struct lct_tpm_created *created,
                             const struct lct_pin *pin, const struct lct_tpm_template *from,
                             struct lct_err *err);

/* lct_tpm_find_parent of such a one, if it is the storage root key that is asked for; another is
 * nobody's to know. Errors also as above; LCT_ERR_OTHER_TPM with an empty parent->name: there is
 * none. */
enum lct_code lct_pin_find_parent(struct lct_tpm *tpm, struct lct_tpm_parent *parent,
                                  const struct lct_pin *pin,
                                  const struct lct_tpm_parent_request *from, struct lct_err *err);

#endif
