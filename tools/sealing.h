/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LCT_TOOLS_SEALING_H
#define LCT_TOOLS_SEALING_H

#include "store/seal.h"
#include "tools/tool.h"

/* What something new is to be sealed to. */
struct lct_sealing_request {
    const char *spec; /* --seal; NULL: the configuration's, or the default */
    const char *label;
    const char *id; /* --bind, --revocable: to what */
    bool bind, revocable;
    struct lct_secret *owner_auth; /* for an NV counter; filled in if it has to be asked for */
};

/* What new things are sealed to where nobody says: by the configuration, or the default.
 * LCT_ERR_CONFIG: the configuration's is no seal. */
enum lct_code lct_sealing_default(struct lct_seal *seal, const struct lct_tool *tool,
                                  struct lct_err *err);

/* The same, for its PCRs: those of the default, if it has none. */
enum lct_code lct_sealing_default_pcrs(struct lct_seal *seal, const struct lct_tool *tool,
                                       struct lct_err *err);

/* Kind and PCRs of a request, with nothing looked at. LCT_ERR_USAGE; LCT_ERR_CONFIG, as
 * lct_sealing_default. */
enum lct_code lct_sealing_parse(struct lct_seal *seal, const struct lct_tool *tool,
                                const struct lct_sealing_request *request, struct lct_err *err);

/*
 * Completes the seal of lct_sealing_parse with what the PCRs hold and the store's authority; where
 * there is none, offers on a terminal to make one. Warns on stderr of PCRs that nothing is measured
 * into. Nothing happens to LCT_SEAL_NONE. Errors of lct_seal_prepare.
 */
enum lct_code lct_sealing_complete(struct lct_seal *seal, struct lct_tool *tool,
                                   const struct lct_sealing_request *request, struct lct_err *err);

/* After a failure later on, removes what completing it has made in the TPM, unless the identity has
 * a key of that all the same. */
void lct_sealing_abandon(const struct lct_seal *seal, struct lct_tool *tool,
                         const struct lct_sealing_request *request);

#endif
