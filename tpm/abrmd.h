/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LCT_TPM_ABRMD_H
#define LCT_TPM_ABRMD_H

#include "tpm/wire.h"

#include <stdbool.h>

/*
 * tpm2-abrmd, the resource manager that is asked over D-Bus for a connection of one's own, which is
 * then a stream of commands and responses without D-Bus.
 */

/* What it answered, for the search and for a diagnosis. */
struct lct_abrmd_answer {
    bool answers;
    bool missing;        /* it is neither there nor installed */
    bool silent;         /* it did not answer in time */
    char text[320];      /* a sentence: why not */
    const char *command; /* what to type then; NULL: nothing is known to help */
};

/*
 * Asks for a connection and closes it. `conf` is "bus_type=system|session,bus_name=N", each with
 * its default; `root` is before all paths of the system. The bus may start the service for it; in a
 * search (`searched`) only where there is a device for it, and then it is no fault to be missing,
 * which has no command. Waits 5 s at most. LCT_ERR_CONFIG, else it has an answer.
 */
enum lct_code lct_abrmd_ask(struct lct_abrmd_answer *answer, const char *root, const char *conf,
                            bool searched, struct lct_err *err);

/* Opens that way in, before the deadline. LCT_ERR_CONFIG; LCT_ERR_NO_TPM; LCT_ERR_TIMEOUT. */
enum lct_code lct_abrmd_open(struct lct_wire **wire, const char *conf, bool searched,
                             const struct lct_deadline *deadline, struct lct_err *err);

/* Whether its package is there, with the file that lets the system's bus start it. */
bool lct_abrmd_is_installed(const char *root);

#endif
