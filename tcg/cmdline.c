/* SPDX-License-Identifier: Apache-2.0 */
#include "tcg/cmdline.h"

#include <openssl/evp.h>
#include <string.h>

/* Characters of one byte, or of two: UTF-16, little-endian. */
struct text {
    const uint8_t *bytes;
    size_t len; /* characters */
    size_t width;
};

/*
 * What is looked for, without a BOOT_IMAGE, and what of it changes: [from, to) of `before` becomes
 * `middle`. Both are at the ends of words.
 */
struct edit {
    const char *before;
    size_t before_len;
    size_t from, to;
    const char *middle;
    size_t middle_len;
    const char *anchor; /* its longest word */
    size_t anchor_len;
};

/* A place in a text: from and to as those of the edit. */
struct match {
    size_t from, to, end;
    bool is_clear;
};

static unsigned char_at(const struct text *text, size_t at)
{
    const uint8_t *c = text->bytes + at * text->width;

    return text->width == 1 ? c[0] : (unsigned)c[1] << 8 | c[0];
}

static bool is_blank(unsigned c)
{
    return c == ' ' || c == '\t';
}

static bool is_end_of_line(unsigned c)
{
    return c == '\0' || c == '\n' || c == '\r';
}

static size_t blanks(const struct text *text, size_t at)
{
    size_t num = 0;

    while (at + num < text->len && is_blank(char_at(text, at + num)))
        num++;
    return num;
}

static struct text narrow(const char *bytes, size_t len)
{
    return (struct text){(const uint8_t *)bytes, len, 1};
}

/* Whether a text's words begin, or end, here. */
static bool is_bound(const struct text *text, size_t at)
{
    return at == text->len || is_blank(char_at(text, at)) || is_end_of_line(char_at(text, at));
}

static bool is_word_start(const struct text *text, size_t at)
{
    return at == 0 || is_bound(text, at - 1);
}

/* GRUB's own parameter, which is in none of its events as such: its characters, blanks included. */
static size_t boot_image(const char *line, size_t len)
{
    static const char name[] = "BOOT_IMAGE=";
    struct text text = narrow(line, len);
    size_t at = sizeof name - 1;

    if (len < at || memcmp(line, name, at) != 0)
        return 0;
    while (!is_bound(&text, at))
        at++;
    return at + blanks(&text, at);
}

/* Whether the first of a gap's blanks, or an end. */
static bool is_gap(const char *line, size_t len, size_t at)
{
    return at == 0 || at == len ||
           (is_blank((uint8_t)line[at]) && !is_blank((uint8_t)line[at - 1]));
}

/* What both lines begin and end with, in whole words, is left alone. */
static struct edit make_edit(const struct lct_cmdline *change)
{
    size_t skip = boot_image(change->before, change->before_len);
    const char *before = change->before + skip, *after = change->after + skip;
    size_t before_len = change->before_len - skip, after_len = change->after_len - skip;
    size_t shorter = before_len < after_len ? before_len : after_len, from = 0, tail = 0;

    for (size_t i = 0; i <= shorter && (i == 0 || before[i - 1] == after[i - 1]); i++)
        if (is_gap(before, before_len, i) && is_gap(after, after_len, i))
            from = i;
    for (size_t i = 1; i <= shorter - from && before[before_len - i] == after[after_len - i]; i++)
        if (is_gap(before, before_len, before_len - i) && is_gap(after, after_len, after_len - i))
            tail = i;
    while (from < shorter - tail && is_blank((uint8_t)before[from]) && before[from] == after[from])
        from++;
    struct edit edit = {
        before, before_len, from, before_len - tail, after + from, after_len - from - tail,
        before, 0};
    struct text text = narrow(before, before_len);
    for (size_t start = 0, i = 0; i <= before_len; i++) {
        if (!is_bound(&text, i))
            continue;
        if (i - start > edit.anchor_len) {
            edit.anchor = before + start;
            edit.anchor_len = i - start;
        }
        start = i + 1;
    }
    return edit;
}

/* Whether the blanks in front of before[at] are where something changes: there it matters how many
 * they are. */
static bool is_touched(const struct edit *edit, size_t at)
{
    bool cut_or_put = edit->from == edit->to || edit->middle_len == 0;

    return at >= edit->from && (at < edit->to || (at == edit->to && cut_or_put));
}

/* What may follow a command line: the end of its line. */
static bool match_end(struct match *match, const struct text *text, const struct edit *edit)
{
    size_t num = blanks(text, match->end), next = match->end + num;
    bool ends = next == text->len || is_end_of_line(char_at(text, next));

    if (!ends && num == 0)
        return false; /* the last word is another one */
    if (!ends || (num > 0 && is_touched(edit, edit->before_len)))
        match->is_clear = false;
    return true;
}

/* Whether what is looked for is here, whatever the numbers of blanks. */
static bool match_at(struct match *match, const struct text *text, size_t at,
                     const struct edit *edit)
{
    const struct text before = narrow(edit->before, edit->before_len);

    *match = (struct match){.from = at, .to = at, .is_clear = true};
    for (size_t i = 0; i < before.len;) {
        size_t num = blanks(&before, i), num_here = blanks(text, at);
        match->from = i <= edit->from ? at : match->from;
        match->to = i <= edit->to ? at : match->to;
        if (at == text->len || (num > 0) != (num_here > 0))
            return false;
        if (num > 0 && num != num_here && is_touched(edit, i))
            match->is_clear = false;
        if (num == 0 && char_at(text, at) != char_at(&before, i))
            return false;
        i += num > 0 ? num : 1;
        at += num > 0 ? num_here : 1;
    }
    match->from = edit->from == before.len ? at : match->from;
    match->to = edit->to == before.len ? at : match->to;
    match->end = at;
    return match_end(match, text, edit);
}

/* A line of commands that shares the longest word, and has variables behind it: perhaps it is the
 * command line when they have values. */
static bool is_template(const struct text *text, size_t at, const struct edit *edit)
{
    for (size_t i = 0; i < edit->anchor_len; i++, at++)
        if (at == text->len || char_at(text, at) != (uint8_t)edit->anchor[i])
            return false;
    if (!is_bound(text, at))
        return false;
    for (; at < text->len && !is_end_of_line(char_at(text, at)); at++)
        if (char_at(text, at) == '$')
            return true;
    return false;
}

enum mention { ABSENT, CLEAR, UNCLEAR };

static enum mention scan(const struct text *text, const struct edit *edit)
{
    enum mention mention = ABSENT;
    struct match match;

    for (size_t i = 0; i < text->len; i++) {
        if (!is_word_start(text, i))
            continue;
        if (match_at(&match, text, i, edit)) {
            if (!match.is_clear)
                return UNCLEAR;
            mention = CLEAR;
            i = match.end - 1;
        } else if (is_template(text, i, edit)) {
            return UNCLEAR;
        }
    }
    return mention;
}

/* A text on its way into a hash, in characters of `width` bytes. */
struct sink {
    EVP_MD_CTX *ctx;
    size_t width;
    bool failed;
};

static void put(struct sink *sink, unsigned c)
{
    uint8_t bytes[2] = {(uint8_t)c, (uint8_t)(c >> 8)};

    if (!sink->failed && !EVP_DigestUpdate(sink->ctx, bytes, sink->width))
        sink->failed = true;
}

static void put_text(struct sink *sink, const struct text *text, size_t from, size_t to)
{
    for (size_t i = from; i < to; i++)
        put(sink, char_at(text, i));
}

/* With `edit`, as it will be. */
static void put_edited(struct sink *sink, const struct text *text, const struct edit *edit)
{
    const struct text middle = narrow(edit->middle, edit->middle_len);
    size_t done = 0;
    struct match match;

    for (size_t i = 0; i < text->len; i++) {
        if (!is_word_start(text, i) || !match_at(&match, text, i, edit))
            continue;
        put_text(sink, text, done, match.from);
        put_text(sink, &middle, 0, middle.len);
        done = match.to;
        i = match.end - 1;
    }
    put_text(sink, text, done, text->len);
}

/* How a text is put into a hash. */
struct form {
    size_t width;
    const char *tail;
    size_t tail_len;
};
static const struct form forms[] = {
    {1, "", 0}, {1, "", 1}, {1, "\n", 1}, {2, "", 0}, {2, "", 1}, {2, "\n", 1},
};
enum { num_forms = sizeof forms / sizeof forms[0] };

/* What is being looked at. */
struct work {
    OSSL_LIB_CTX *libctx;
    const struct lct_pcrs *pcrs;
    uint32_t pcr;
    uint8_t (*digests)[LCT_MAX_HASH];
    bool failed; /* libcrypto did */
};

static void hash_text(uint8_t digest[LCT_MAX_HASH], struct work *work, const struct lct_hash *hash,
                      const struct text *text, const struct edit *edit, const struct form *form)
{
    EVP_MD *md = EVP_MD_fetch(work->libctx, hash->openssl, NULL);
    struct sink sink = {EVP_MD_CTX_new(), form->width, false};
    const struct text tail = narrow(form->tail, form->tail_len);

    memset(digest, 0, LCT_MAX_HASH);
    if (md == NULL || sink.ctx == NULL || !EVP_DigestInit_ex(sink.ctx, md, NULL))
        sink.failed = true;
    if (edit != NULL)
        put_edited(&sink, text, edit);
    else
        put_text(&sink, text, 0, text->len);
    put_text(&sink, &tail, 0, tail.len);
    if (sink.failed || !EVP_DigestFinal_ex(sink.ctx, digest, NULL))
        work->failed = true;
    EVP_MD_CTX_free(sink.ctx);
    EVP_MD_free(md);
}

/* The row of the form in which the event's digests, each of them, are of this text; or num_forms.
 */
static size_t find_form(struct work *work, const struct text *text)
{
    uint8_t digest[LCT_MAX_HASH];

    for (size_t row = 0; row < num_forms; row++) {
        bool equal = forms[row].width >= text->width;
        for (size_t i = 0; i < work->pcrs->num_banks && equal; i++) {
            const struct lct_pcr_bank *bank = &work->pcrs->banks[i];
            if ((bank->pcrs >> work->pcr & 1) == 0)
                continue;
            hash_text(digest, work, bank->hash, text, NULL, &forms[row]);
            equal = !work->failed && memcmp(digest, work->digests[i], bank->hash->size) == 0;
        }
        if (equal)
            return row;
    }
    return num_forms;
}

/* The event's digests become those of `after`, if they are those of `before`. */
static bool replace(struct work *work, const struct text *before, const struct text *after,
                    const struct edit *edit)
{
    size_t row = find_form(work, before);

    for (size_t i = 0; i < work->pcrs->num_banks && row != num_forms; i++)
        if ((work->pcrs->banks[i].pcrs >> work->pcr & 1) != 0)
            hash_text(work->digests[i], work, work->pcrs->banks[i].hash, after, edit, &forms[row]);
    return row != num_forms;
}

static bool begins_with(const struct text *text, const char *prefix)
{
    for (size_t i = 0; prefix[i] != '\0'; i++)
        if (i == text->len || char_at(text, i) != (uint8_t)prefix[i])
            return false;
    return true;
}

/* An event's text is measured without what says whose it is, and NULs at its end are of a form. */
static bool replace_in(struct work *work, struct text text, const struct edit *edit)
{
    static const char *const prefixes[] = {
        "kernel_cmdline: ", "grub_cmd: ", "module_cmdline: ", ""};

    while (text.len > 0 && char_at(&text, text.len - 1) == '\0')
        text.len--;
    for (size_t i = 0; i < sizeof prefixes / sizeof prefixes[0]; i++) {
        size_t len = strlen(prefixes[i]);
        const struct text rest = {text.bytes + len * text.width, text.len - len, text.width};
        if (begins_with(&text, prefixes[i]) && replace(work, &rest, &rest, edit))
            return true;
    }
    return false;
}

/* Events that say that they measure a command line, and not which: the name itself is measured
 * beside what it names (systemd-stub's sections). */
static bool names_cmdline(struct work *work, const struct lct_event *event)
{
    static const struct {
        uint32_t type;
        size_t skip, width;
        const char *name;
    } rows[] = {
        /* TCG_PCClientTaggedEvent (PFP, 10.4.2.1): an id and a length in front */
        {LCT_EV_EVENT_TAG, 8, 1, "LOADED_IMAGE::LoadOptions"},
        {LCT_EV_IPL, 0, 1, ".cmdline"},
        {LCT_EV_IPL, 0, 2, ".cmdline"},
    };

    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        if (event->type != rows[i].type || event->bytes_len < rows[i].skip)
            continue;
        const struct text text = {event->bytes + rows[i].skip,
                                  (event->bytes_len - rows[i].skip) / rows[i].width, rows[i].width};
        const struct text name = narrow(rows[i].name, strlen(rows[i].name));
        if (begins_with(&text, rows[i].name) && find_form(work, &name) == num_forms)
            return true;
    }
    return false;
}

enum lct_code lct_cmdline_check(const struct lct_cmdline *change, struct lct_err *err)
{
    const struct text lines[] = {narrow(change->before, change->before_len),
                                 narrow(change->after, change->after_len)};

    for (size_t line = 0; line < 2; line++) {
        const struct text *text = &lines[line];
        if (text->len == 0 || text->len > LCT_CMDLINE_MAX || is_blank(char_at(text, 0)) ||
            is_blank(char_at(text, text->len - 1)))
            return LCT_FAIL(err, LCT_ERR_USAGE,
                            "a command line is given as in /proc/cmdline, in at most %d "
                            "characters and without blanks around it",
                            LCT_CMDLINE_MAX);
        for (size_t i = 0; i < text->len; i++)
            if ((char_at(text, i) < ' ' && char_at(text, i) != '\t') || char_at(text, i) > '~')
                return LCT_FAIL(err, LCT_ERR_USAGE,
                                "a command line that is not one line of ASCII cannot be foretold");
    }
    if (lines[0].len == lines[1].len && memcmp(change->before, change->after, lines[0].len) == 0)
        return LCT_FAIL(err, LCT_ERR_USAGE, "the old and the new command line are the same");
    size_t image = boot_image(change->before, change->before_len);
    if (image != boot_image(change->after, change->after_len) ||
        memcmp(change->before, change->after, image) != 0 || image == change->before_len)
        return LCT_FAIL(err, LCT_ERR_USAGE,
                        "both command lines must have the same BOOT_IMAGE, and options after it: "
                        "another kernel is measured in other ways too");
    return LCT_OK;
}

enum lct_code lct_cmdline_apply(bool *found, const struct lct_cmdline *change, OSSL_LIB_CTX *libctx,
                                const struct lct_event *event, const struct lct_pcrs *pcrs,
                                uint8_t digests[LCT_MAX_BANKS][LCT_MAX_HASH], struct lct_err *err)
{
    const struct edit edit = make_edit(change);
    const struct text before = narrow(change->before, change->before_len);
    const struct text after = narrow(change->after, change->after_len);
    struct work work = {libctx, pcrs, event->pcr, digests, false};
    bool unclear = false;

    *found = replace(&work, &before, &after, NULL);
    for (size_t width = 1; width <= 2 && !*found && !unclear; width++) {
        const struct text text = {event->bytes, event->bytes_len / width, width};
        enum mention mention = scan(&text, &edit);
        *found = mention == CLEAR && replace_in(&work, text, &edit);
        unclear = mention != ABSENT && !*found;
    }
    if (!*found && !unclear)
        unclear = names_cmdline(&work, event);
    if (work.failed)
        return LCT_FAIL(err, LCT_ERR_INTERNAL, "a hash is not to be had from libcrypto");
    if (unclear)
        return LCT_FAIL(err, LCT_ERR_UNSUPPORTED,
                        "event %zu of the event log, in PCR %u, has to do with the command line, "
                        "but not in a way that tells its next digest: give both as in "
                        "/proc/cmdline, or leave out PCR %u",
                        event->number, (unsigned)event->pcr, (unsigned)event->pcr);
    return LCT_OK;
}
