/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/describe.h"

#include "proof/seal.h"
#include "store/certs.h"
#include "tools/seal_text.h"
#include "tools/tool.h"

const char *lct_describe_custody(const struct lct_generation *generation, const struct lct_key *key)
{
    bool software = generation->software_tpm;

    if (key != NULL && !lct_public_is_bound(&key->public_area))
        return software ? "tpm (software), imported" : "tpm, imported";
    return software ? "tpm (software)" : "tpm";
}

/* As the record has it, and in words; null for none. */
static json_t *seal_json(const struct lct_generation *generation, OSSL_LIB_CTX *libctx)
{
    char words[LCT_SEAL_WORDS];
    json_t *json = lct_seal_json(&generation->seal);

    if (json_is_object(json))
        (void)json_object_set_new(
            json, "text",
            json_string(lct_seal_words(words, &generation->seal, generation->created, libctx)));
    return json;
}

enum lct_code lct_describe_certificate(struct lct_certificate *certificate, size_t *num,
                                       const struct lct_tool *tool, const char *id, unsigned number,
                                       const struct lct_key *key, struct lct_err *err)
{
    struct lct_certs certs;
    enum lct_code code = lct_certs_read(&tool->store, tool->crypto, id, number, &certs, err);

    *num = certs.num;
    if (code == LCT_OK && certs.num > 0 && key != NULL &&
        lct_certs_check_leaf(&certs, key, err) != LCT_OK)
        code = lct_err_prefix(err, key->label);
    if (code == LCT_OK && certs.num > 0)
        code = lct_certificate_describe(certificate, certs.certs[0].x509, tool->crypto, err);
    lct_certs_clear(&certs);
    return code;
}

json_t *lct_describe_json(const struct lct_record *record, const struct lct_key *key,
                          const char *dir)
{
    const struct lct_generation *generation = lct_record_generation(record, 0);

    return json_pack("{s:s, s:s, s:s, s:s, s:b, s:b, s:b, s:o, s:s, s:i, s:n, s:s, s:s}", "id",
                     record->id, "algorithm", generation->algorithm->name, "custody", "tpm", "tpm",
                     generation->tpm, "software_tpm", generation->software_tpm, "hardware_bound",
                     lct_public_is_bound(&key->public_area), "passphrase", generation->passphrase,
                     "seal", seal_json(generation, key->libctx), "state", "active", "generation",
                     (int)generation->number, "certificate", "created", record->created, "store",
                     dir);
}
