/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the processes around a key do to it: threads, children, chroot, other users, descriptors.
 * `process TEST [ARGUMENT...]` prints "ok", or what is wrong and ends with status 1. Nothing may
 * take longer than a minute without an end.
 */
#include "keys.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/store.h>
#include <openssl/ui.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { NUM_THREADS = 8, MAX_KEYS = 64, MAX_CHILDREN = 128, MAX_SAID = 512, LIMIT = 60 /* s */ };

static struct {
    atomic_bool stop;
    int count;
} work;

struct task {
    EVP_PKEY *pkey;
    EVP_PKEY *public_key;
};

static void sign_once(const struct task *task)
{
    unsigned char signature[MAX_SIGNATURE];
    size_t len;

    sign(NULL, task->pkey, signature, &len);
    expect(verifies(NULL, task->public_key, signature, len), "the signature verifies in software");
}

static struct task make_task(EVP_PKEY *pkey)
{
    return (struct task){pkey, software_public(NULL, pkey)};
}

static void end_task(struct task *task)
{
    EVP_PKEY_free(task->pkey);
    EVP_PKEY_free(task->public_key);
}

static void *sign_count(void *task)
{
    for (int i = 0; i < work.count; i++)
        sign_once(task);
    return NULL;
}

/*
 * libcrypto's own locks are not made anew in a child: who forks while another thread is in it, has
 * a child that hangs, whatever the key. So no thread is, when the storm's main thread forks.
 */
static pthread_rwlock_t in_libcrypto = PTHREAD_RWLOCK_WRITER_NONRECURSIVE_INITIALIZER_NP;

static void *sign_until_stopped(void *task)
{
    while (!work.stop) {
        pthread_rwlock_rdlock(&in_libcrypto);
        sign_once(task);
        pthread_rwlock_unlock(&in_libcrypto);
    }
    return NULL;
}

static pid_t fork_outside_libcrypto(void)
{
    pthread_rwlock_wrlock(&in_libcrypto);
    pid_t pid = fork();
    if (pid != 0)
        pthread_rwlock_unlock(&in_libcrypto);
    return pid;
}

/* threads COUNT URI...: 8 threads make COUNT signatures each, thread i with URI i in turn. */
static void test_threads(char **argv)
{
    pthread_t threads[NUM_THREADS];
    struct task tasks[NUM_THREADS];
    size_t num_uris = 0;

    while (argv[1 + num_uris] != NULL)
        num_uris++;
    work.count = atoi(argv[0]);
    for (size_t i = 0; i < NUM_THREADS; i++)
        tasks[i] = make_task(i < num_uris ? load(NULL, argv[1 + i])
                                          : EVP_PKEY_dup(tasks[i % num_uris].pkey));
    for (size_t i = 0; i < NUM_THREADS; i++)
        expect(pthread_create(&threads[i], NULL, sign_count, &tasks[i]) == 0, "a thread");
    for (size_t i = 0; i < NUM_THREADS; i++)
        expect(pthread_join(threads[i], NULL) == 0, "its end");
    for (size_t i = 0; i < NUM_THREADS; i++)
        end_task(&tasks[i]);
}

/* What a signature fails with. */
static void fail(const struct task *task, char said[MAX_SAID])
{
    const char *data = NULL;
    int flags = 0;
    unsigned char signature[MAX_SIGNATURE];
    size_t len = sizeof signature;
    EVP_MD_CTX *context = EVP_MD_CTX_new();

    expect(EVP_DigestSignInit_ex(context, NULL, "SHA256", NULL, NULL, task->pkey, NULL) == 1,
           "signing begins");
    expect(EVP_DigestSign(context, signature, &len, (const unsigned char *)"x", 1) != 1,
           "nothing is signed");
    (void)ERR_peek_last_error_data(&data, &flags);
    (void)snprintf(said, MAX_SAID, "%s", (flags & ERR_TXT_STRING) != 0 ? data : "");
    ERR_clear_error();
    EVP_MD_CTX_free(context);
}

/* Nobody answers: it is told so. */
static void *fail_to_sign(void *task)
{
    char said[MAX_SAID];

    fail(task, said);
    return NULL;
}

/* stalls URI: 8 threads sign at once with a TPM that has stopped, when a line of standard input
 * says so; each fails, and how long it took them all is said, in ms. */
static void test_stalls(char **argv)
{
    pthread_t threads[NUM_THREADS];
    struct timespec start, end;
    struct task task = make_task(load(NULL, argv[0]));

    sign_once(&task);
    puts("signed");
    expect(fflush(stdout) == 0 && getchar() == '\n', "the word to go on");
    (void)clock_gettime(CLOCK_MONOTONIC, &start);
    for (size_t i = 0; i < NUM_THREADS; i++)
        expect(pthread_create(&threads[i], NULL, fail_to_sign, &task) == 0, "a thread");
    for (size_t i = 0; i < NUM_THREADS; i++)
        expect(pthread_join(threads[i], NULL) == 0, "its end");
    (void)clock_gettime(CLOCK_MONOTONIC, &end);
    printf("%ld\n",
           (long)((end.tv_sec - start.tv_sec) * 1000 + (end.tv_nsec - start.tv_nsec) / 1000000));
    expect(fflush(stdout) == 0, "standard output");
    end_task(&task);
}

/* turns URI...: up to 64 keys sign one after the other, twice round. */
static void test_turns(char **argv)
{
    struct task tasks[MAX_KEYS];
    size_t num = 0;

    for (; argv[num] != NULL && num < MAX_KEYS; num++)
        tasks[num] = make_task(load(NULL, argv[num]));
    for (int turn = 0; turn < 2; turn++)
        for (size_t i = 0; i < num; i++)
            sign_once(&tasks[i]);
    for (size_t i = 0; i < num; i++)
        end_task(&tasks[i]);
}

/* A child of the storm, by its number: signs and ends in one of several ways. */
static void be_child(int number, struct task *task)
{
    (void)alarm(LIMIT);
    if (number % 4 == 0)
        exit(0); /* with every destructor, without a signature */
    for (int i = 0; i < 3; i++)
        sign_once(task);
    if (number % 4 == 1)
        _exit(0);
    end_task(task);
    exit(0);
}

/*
 * storm COUNT KILLED URI: two threads sign all the time while the main thread forks COUNT children,
 * one after the other. Each signs; one in KILLED is killed at some moment while it does.
 */
static void test_storm(char **argv)
{
    pthread_t threads[2];
    int killed = atoi(argv[1]);
    struct task task = make_task(load(NULL, argv[2]));

    for (size_t i = 0; i < 2; i++)
        expect(pthread_create(&threads[i], NULL, sign_until_stopped, &task) == 0, "a thread");
    for (int number = 0; number < atoi(argv[0]); number++) {
        pid_t pid = fork_outside_libcrypto();
        expect(pid >= 0, "fork");
        if (pid == 0)
            be_child(number, &task);
        if (number % killed == killed - 2) {
            int status;
            usleep((useconds_t)(number % 17) * 500);
            kill(pid, SIGKILL);
            expect(waitpid(pid, &status, 0) == pid, "the end of a killed child");
        } else {
            reap(pid, "a child signs");
        }
    }
    work.stop = true;
    for (size_t i = 0; i < 2; i++)
        expect(pthread_join(threads[i], NULL) == 0, "a thread's end");
    sign_once(&task);
    end_task(&task);
}

/*
 * midway URI: a thread signs; when a line comes on standard input, its command being on its way, a
 * child is forked and signs, then another, that only ends.
 */
static void test_midway(char **argv)
{
    char line[8];
    pthread_t thread;
    struct task task = make_task(load(NULL, argv[0]));

    sign_once(&task);
    work.count = 1;
    puts("ready");
    expect(fflush(stdout) == 0 && fgets(line, sizeof line, stdin) != NULL, "a line");
    expect(pthread_create(&thread, NULL, sign_count, &task) == 0, "a thread");
    expect(fgets(line, sizeof line, stdin) != NULL, "a line");
    for (int i = 0; i < 2; i++) {
        pid_t pid = fork();
        if (pid == 0)
            be_child(i, &task);
        reap(pid, "a child signs");
    }
    puts("forked");
    expect(fflush(stdout) == 0 && pthread_join(thread, NULL) == 0, "the thread's end");
    sign_once(&task);
    end_task(&task);
}

/* crowd COUNT URI: COUNT children sign at the same time as the parent, 20 times each. */
static void test_crowd(char **argv)
{
    pid_t pids[MAX_KEYS];
    int num = atoi(argv[0]);
    struct task task = make_task(load(NULL, argv[1]));

    sign_once(&task);
    for (int i = 0; i < num; i++) {
        pids[i] = fork();
        if (pids[i] == 0) {
            (void)alarm(LIMIT);
            work.count = 20;
            (void)sign_count(&task);
            end_task(&task);
            exit(0);
        }
    }
    work.count = 20;
    (void)sign_count(&task);
    for (int i = 0; i < num; i++)
        reap(pids[i], "a child signs");
    sign_once(&task);
    end_task(&task);
}

/* What a passphrase callback does here before it answers: it forks, and both sign. */
static struct task other;
static const char *answer;

static int read_passphrase(UI *ui, UI_STRING *string)
{
    pid_t pid = fork();

    expect(pid >= 0, "fork in a callback");
    sign_once(&other);
    if (pid == 0)
        _exit(0);
    reap(pid, "a child of the callback signs");
    return UI_set_result(ui, string, answer) == 0;
}

/* callback URI OTHER PASSPHRASE: while URI asks for its passphrase, a child is forked and OTHER
 * signs. */
static void test_callback(char **argv)
{
    UI_METHOD *method = UI_create_method("test");

    other = make_task(load(NULL, argv[1]));
    answer = argv[2];
    expect(UI_method_set_reader(method, read_passphrase) == 0, "a reader");
    OSSL_STORE_CTX *store = OSSL_STORE_open_ex(argv[0], NULL, NULL, method, NULL, NULL, NULL, NULL);
    OSSL_STORE_INFO *info = store != NULL ? OSSL_STORE_load(store) : NULL;
    expect(info != NULL, "the URI opens");
    struct task task = make_task(OSSL_STORE_INFO_get1_PKEY(info));
    OSSL_STORE_INFO_free(info);
    OSSL_STORE_close(store);
    sign_once(&task);
    end_task(&task);
    end_task(&other);
    UI_destroy_method(method);
}

/*
 * jail DIRECTORY UID COUNT URI: loads the key, then is in a chroot, another user, in no group and
 * without an environment, and signs, as COUNT children at once do, one of which is killed.
 */
static void test_jail(char **argv)
{
    uid_t uid = (uid_t)atoi(argv[1]);
    int num = atoi(argv[2]);
    pid_t pids[MAX_KEYS];
    struct task task = make_task(load(NULL, argv[3]));

    expect(chroot(argv[0]) == 0 && chdir("/") == 0, "a chroot");
    expect(setgroups(0, NULL) == 0 && setgid((gid_t)uid) == 0 && setuid(uid) == 0, "another user");
    expect(clearenv() == 0, "no environment");
    for (int round = 0; round < 2; round++) {
        for (int i = 0; i < num; i++) {
            pids[i] = fork();
            if (pids[i] == 0) {
                (void)alarm(LIMIT);
                work.count = i == 0 ? 100000 : 5;
                (void)sign_count(&task);
                end_task(&task);
                exit(0);
            }
        }
        for (int i = 1; i < num; i++)
            reap(pids[i], "a child signs");
        kill(pids[0], SIGKILL);
        expect(waitpid(pids[0], NULL, 0) == pids[0], "the end of a killed child");
        sign_once(&task);
    }
    end_task(&task);
}

/* The descriptors that are open now, from 3 on. */
static size_t list_descriptors(int fds[MAX_KEYS])
{
    size_t num = 0;
    DIR *dir = opendir("/proc/self/fd");

    expect(dir != NULL, "/proc");
    for (const struct dirent *entry = readdir(dir); entry != NULL; entry = readdir(dir)) {
        int fd = atoi(entry->d_name);
        if (fd > 2 && fd != dirfd(dir) && num < MAX_KEYS)
            fds[num++] = fd;
    }
    closedir(dir);
    return num;
}

/*
 * descriptors FILE URI: what a host does that closes descriptors and uses their numbers again: the
 * key signs on and nothing is written into the file that has taken the number.
 */
static void test_descriptors(char **argv)
{
    int fds[MAX_KEYS];
    struct stat st;
    struct task task = make_task(load(NULL, argv[1]));

    sign_once(&task);
    int file = open(argv[0], O_RDWR | O_CREAT | O_EXCL, 0600);
    expect(file >= 0, "a file");
    size_t num = list_descriptors(fds);
    for (size_t i = 0; i < num; i++)
        expect(fds[i] == file || dup2(file, fds[i]) >= 0, "a number is used again");
    sign_once(&task);
    sign_once(&task);
    expect(fstat(file, &st) == 0 && st.st_size == 0, "nothing is written into the file");
    for (size_t i = 0; i < num; i++)
        expect(fcntl(fds[i], F_GETFD) >= 0, "the host's descriptors are open still");
    end_task(&task);
}

/* As a daemon that starts: it closes whatever it has open above standard error. */
static void close_all(void)
{
    int fds[MAX_KEYS];
    size_t num = list_descriptors(fds);

    for (size_t i = 0; i < num; i++)
        expect(close(fds[i]) == 0, "a descriptor is closed");
}

/*
 * daemon URI: the host closes all that it knows nothing of, before the first signature and later,
 * and so does a child; nothing takes the numbers but what is opened anew. The key signs on.
 */
static void test_daemon(char **argv)
{
    int fds[MAX_KEYS];
    struct task task = make_task(load(NULL, argv[0]));

    for (int round = 0; round < 3; round++) {
        pid_t pid = round == 2 ? fork() : 0;
        expect(pid >= 0, "fork");
        if (pid != 0) {
            reap(pid, "a child that has closed all signs");
            break;
        }
        close_all();
        sign_once(&task);
        size_t num = list_descriptors(fds);
        sign_once(&task);
        expect(list_descriptors(fds) == num, "the connection is kept");
        if (round == 2)
            _exit(0);
    }
    sign_once(&task);
    end_task(&task);
}

/* The number by which `path` is open; -1: it is not. */
static int find_open(const char *path)
{
    int fds[MAX_KEYS];
    struct stat wanted, st;
    size_t num = list_descriptors(fds);

    expect(stat(path, &wanted) == 0, "the file");
    for (size_t i = 0; i < num; i++)
        if (fstat(fds[i], &st) == 0 && st.st_dev == wanted.st_dev && st.st_ino == wanted.st_ino)
            return fds[i];
    return -1;
}

/*
 * opener DEVICE SIGNED URI: the host closes all, before a signature or after one, and then opens
 * the same device itself, by the number that was ours: that one is not ours to use or to close.
 */
static void test_opener(char **argv)
{
    unsigned char unread[1];
    struct task task = make_task(load(NULL, argv[2]));

    if (atoi(argv[1]) != 0)
        sign_once(&task);
    int number = find_open(argv[0]);
    expect(number > 2, "the key has opened the device");
    close_all();
    int fd = open(argv[0], O_RDWR | O_CLOEXEC | O_NONBLOCK);
    expect(fd >= 0 && (fd == number || dup2(fd, number) == number), "the number is used again");
    if (fd != number)
        close(fd);
    sign_once(&task);
    sign_once(&task);
    end_task(&task);
    expect(find_open(argv[0]) >= 0 && fcntl(number, F_GETFD) >= 0, "the host's is open still");
    expect(read(number, unread, sizeof unread) <= 0, "nothing was said by the host's");
}

/* inherits URI: after a signature every descriptor above 2 is close-on-exec. */
static void test_inherits(char **argv)
{
    int fds[MAX_KEYS];
    struct task task = make_task(load(NULL, argv[0]));

    sign_once(&task);
    size_t num = list_descriptors(fds);
    for (size_t i = 0; i < num; i++)
        expect((fcntl(fds[i], F_GETFD) & FD_CLOEXEC) != 0, "close-on-exec");
    end_task(&task);
}

/*
 * idle COUNT URI: COUNT children sign once, one after the other, and stay, as a server's do whose
 * clients say nothing; then the parent signs.
 */
static void test_idle(char **argv)
{
    pid_t pids[MAX_CHILDREN];
    int ends[2], num = atoi(argv[0]);
    char byte;
    struct task task = make_task(load(NULL, argv[1]));

    expect(num <= MAX_CHILDREN && pipe(ends) == 0, "a pipe");
    for (int i = 0; i < num; i++) {
        int signed_once[2];
        expect(pipe(signed_once) == 0, "a pipe");
        pids[i] = fork();
        if (pids[i] == 0) {
            close(ends[1]);
            sign_once(&task);
            close(signed_once[0]);
            expect(write(signed_once[1], "x", 1) == 1, "it says so");
            _exit(read(ends[0], &byte, 1) != 0); /* until the parent ends */
        }
        close(signed_once[1]);
        expect(read(signed_once[0], &byte, 1) == 1, "a child signs");
        close(signed_once[0]);
    }
    sign_once(&task);
    close(ends[1]);
    for (int i = 0; i < num; i++)
        reap(pids[i], "a child has signed");
    end_task(&task);
}

/* Says so, and waits until it is told to go on. */
static void say(const char *what)
{
    char line[8];

    puts(what);
    expect(fflush(stdout) == 0 && fgets(line, sizeof line, stdin) != NULL, "a line");
}

/*
 * leaves URI: ends without freeing its key, as programs do; before that one child ends so that has
 * not signed, and one that has.
 */
static void test_leaves(char **argv)
{
    struct task task = make_task(load(NULL, argv[0]));

    for (int i = 0; i < 2; i++)
        sign_once(&task);
    say("signed");
    for (int child = 0; child < 2; child++) {
        pid_t pid = fork();
        for (int i = 0; pid == 0 && i < 2 * child; i++)
            sign_once(&task);
        if (pid == 0)
            exit(0);
        reap(pid, "a child ends");
        say("forked");
    }
    puts("ok");
    exit(0);
}

/* ends URI: ends, when a line comes, though a thread is in the middle of a signature. */
static void test_ends(char **argv)
{
    pthread_t thread;
    struct task task = make_task(load(NULL, argv[0]));

    for (int i = 0; i < 2; i++)
        sign_once(&task);
    say("signed");
    work.count = 1;
    expect(pthread_create(&thread, NULL, sign_count, &task) == 0, "a thread");
    say("signing");
    puts("ok");
    exit(0);
}

static struct {
    struct task task;
    pthread_t threads[NUM_THREADS];
} signers;

static void start_signers(const char *uri)
{
    signers.task = make_task(load(NULL, uri));
    for (int i = 0; i < 2; i++)
        sign_once(&signers.task);
    for (int i = 0; i < NUM_THREADS; i++)
        expect(pthread_create(&signers.threads[i], NULL, sign_until_stopped, &signers.task) == 0,
               "a thread");
}

static void say_ending(void)
{
    puts("ending");
    expect(fflush(stdout) == 0, "it is said");
}

/* quits URI: ends, when a line comes, and says that it does, though threads sign on and on. */
static void test_quits(char **argv)
{
    start_signers(argv[0]);
    expect(atexit(say_ending) == 0, "what is called first of all");
    say("signing");
    exit(0);
}

static void join_signers(void)
{
    work.stop = true;
    for (int i = 0; i < NUM_THREADS; i++)
        expect(pthread_join(signers.threads[i], NULL) == 0, "a thread's end");
    for (int i = 0; i < 2; i++)
        sign_once(&signers.task);
    puts("ok");
}

/* joins URI: ends, when a line comes, and waits for its threads after the provider has been told of
 * the end, but before libcrypto is; and then signs itself. */
static void test_joins(char **argv)
{
    expect(OPENSSL_init_crypto(OPENSSL_INIT_LOAD_CRYPTO_STRINGS, NULL) == 1, "libcrypto");
    expect(atexit(join_signers) == 0, "what is called after ours");
    start_signers(argv[0]);
    say("signing");
    exit(0);
}

/*
 * starves SPARE URI: with so many descriptors to spare the first signature fails, which is printed;
 * with all there are the next one does not.
 */
static void test_starves(char **argv)
{
    int fds[MAX_KEYS];
    char said[MAX_SAID];
    struct rlimit all = {0}, few;
    struct task task = make_task(load(NULL, argv[1]));

    say("loaded");
    expect(list_descriptors(fds) == 0 && getrlimit(RLIMIT_NOFILE, &all) == 0, "nothing is open");
    few = all;
    few.rlim_cur = 3 + (rlim_t)atoi(argv[0]);
    expect(setrlimit(RLIMIT_NOFILE, &few) == 0, "few descriptors");
    fail(&task, said);
    puts(said);
    expect(setrlimit(RLIMIT_NOFILE, &all) == 0, "many descriptors");
    sign_once(&task);
    end_task(&task);
}

/* Holds libc's lock of the time zone until whoever writes to the FIFO that is the zone closes it.
 */
static void *read_zone(void *unused)
{
    (void)unused;
    tzset();
    return NULL;
}

static int open_when_read(const char *fifo)
{
    int fd = -1;

    errno = ENXIO;
    for (int ms = 0; fd < 0 && errno == ENXIO && ms < 1000 * LIMIT; ms++) {
        usleep(1000);
        fd = open(fifo, O_WRONLY | O_NONBLOCK | O_CLOEXEC);
    }
    expect(fd >= 0, "somebody reads the FIFO");
    return fd;
}

/* libc makes that lock not anew in a child. */
static void expect_zone_to_be_locked(void)
{
    const time_t epoch = 0;
    struct tm tm;
    int status = 0;
    pid_t pid = fork();

    if (pid == 0) {
        (void)alarm(1);
        _exit(gmtime_r(&epoch, &tm) == NULL);
    }
    expect(waitpid(pid, &status, 0) == pid && WIFSIGNALED(status) && WTERMSIG(status) == SIGALRM,
           "a child waits for ever");
}

/* zone FIFO URI: a child signs whose parent had a thread in the middle of a time zone. */
static void test_zone(char **argv)
{
    pthread_t thread;
    struct task task = make_task(load(NULL, argv[1]));

    sign_once(&task);
    expect(mkfifo(argv[0], 0600) == 0 && setenv("TZ", argv[0], 1) == 0, "a time zone");
    expect(pthread_create(&thread, NULL, read_zone, NULL) == 0, "a thread");
    int fifo = open_when_read(argv[0]);
    expect_zone_to_be_locked();
    pid_t pid = fork();
    if (pid == 0) {
        (void)alarm(LIMIT / 6);
        sign_once(&task);
        _exit(0);
    }
    reap(pid, "a child signs");
    close(fifo);
    expect(pthread_join(thread, NULL) == 0, "the thread's end");
    sign_once(&task);
    end_task(&task);
}

/* Makes whatever is open as short as it may be, by its number and by its name. */
static void truncate_all(void)
{
    int fds[MAX_KEYS];
    char name[32];
    size_t num = list_descriptors(fds);

    for (size_t i = 0; i < num; i++) {
        (void)snprintf(name, sizeof name, "/proc/self/fd/%d", fds[i]);
        bool done = ftruncate(fds[i], 0) == 0 || truncate(name, 0) == 0;
        (void)done;
    }
}

/* truncates URI: a child truncates what it has inherited, before and after the first signature: the
 * parent and a sibling sign on. */
static void test_truncates(char **argv)
{
    struct task task = make_task(load(NULL, argv[0]));

    for (int round = 0; round < 2; round++) {
        pid_t pid = fork();
        if (pid == 0) {
            truncate_all();
            _exit(0);
        }
        reap(pid, "a child that truncates");
        pid = fork();
        if (pid == 0)
            be_child(1, &task);
        reap(pid, "its sibling signs");
        sign_once(&task);
    }
    end_task(&task);
}

enum { PAGE = 4096, MAX_NAME = 66 /* of SHA-512: TPM 2.0 Part 1, 16 */ };

/* The page of a handle space, as tpm/space.c has it. */
struct page {
    uint32_t dirty, stalled, handle, len;
    unsigned char name[MAX_NAME], rest[PAGE - 4 * sizeof(uint32_t) - MAX_NAME];
};

/* The one that children share: memory of no file, as /proc shows it. */
static struct page *find_page(void)
{
    char line[256];
    void *from = NULL, *page = NULL;
    FILE *maps = fopen("/proc/self/maps", "re");

    expect(maps != NULL, "/proc");
    while (fgets(line, sizeof line, maps) != NULL) {
        if (strstr(line, " rw-s ") == NULL || strstr(line, "/dev/zero (deleted)") == NULL)
            continue;
        expect(page == NULL && sscanf(line, "%p", &from) == 1, "one page is shared");
        page = from;
    }
    fclose(maps);
    expect(page != NULL, "a page is shared");
    return page;
}

enum { DIRTY = 1, STALLED = 2, HANDLE = 4, LEN = 8, ALL = 16 };

/* What a child leaves in the page, which says that the key is loaded: other words. */
static const struct {
    int words;
    uint32_t value;
} ways[] = {
    {ALL, 0},
    {ALL, 0x7f7f7f7f},
    {ALL, 0x80808080},
    {ALL, UINT32_MAX},
    {LEN, MAX_NAME + 1},
    {LEN, MAX_NAME},
    {LEN, UINT32_MAX},
    {HANDLE, 0x80fffffd}, /* unused */
    {HANDLE, 0x81000001}, /* the storage root key's */
    {DIRTY, 2},
    {STALLED, 2},
    {DIRTY | STALLED, UINT32_MAX},
};

enum { NUM_WAYS = sizeof ways / sizeof *ways };

static void spoil(struct page *page, int way)
{
    const int words = ways[way].words;
    const uint32_t value = ways[way].value;

    if (words == ALL)
        memset(page, (int)(value & 0xff), sizeof *page);
    if ((words & DIRTY) != 0)
        page->dirty = value;
    if ((words & STALLED) != 0)
        page->stalled = value;
    if ((words & HANDLE) != 0)
        page->handle = value;
    if ((words & LEN) != 0)
        page->len = value;
}

/* A signature that fails is none; one that does not is the key's. */
static void sign_perhaps(const struct task *task)
{
    unsigned char signature[MAX_SIGNATURE];
    size_t len = sizeof signature;
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    bool done = EVP_DigestSignInit_ex(context, NULL, "SHA256", NULL, NULL, task->pkey, NULL) == 1 &&
                EVP_DigestSign(context, signature, &len, (const unsigned char *)message,
                               sizeof message) == 1;

    ERR_clear_error();
    EVP_MD_CTX_free(context);
    expect(!done || verifies(NULL, task->public_key, signature, len), "what is given is right");
}

static time_t seconds(void)
{
    struct timespec now = {0};

    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec;
}

/* A child that writes whatever it likes until it is killed. */
static pid_t spoil_for_ever(struct page *page)
{
    const struct page before = *page;
    pid_t pid = fork();

    expect(pid >= 0, "fork");
    if (pid != 0)
        return pid;
    (void)alarm(LIMIT);
    for (int way = 0;; way = (way + 1) % NUM_WAYS) {
        *page = before;
        spoil(page, way);
    }
}

/*
 * spoils URI OTHER: a child leaves in the page that it shares what is not so, of each kind, and the
 * key signs on; then that what is loaded as OTHER were the key; then one writes all the time, and
 * what is signed meanwhile is right.
 */
static void test_spoils(char **argv)
{
    enum { LONG = 3 /* s */ };
    struct task task = make_task(load(NULL, argv[0])), second = make_task(load(NULL, argv[1]));
    struct page *page = find_page();

    for (int i = 0; i < NUM_WAYS; i++) {
        sign_once(&task);
        pid_t pid = fork();
        if (pid == 0) {
            spoil(page, i);
            _exit(0);
        }
        reap(pid, "a child that spoils");
        sign_once(&task);
        page->dirty = 1; /* what is loaded and forgotten goes: there are three slots */
    }
    sign_once(&task);
    const struct page first = *page;
    sign_once(&second);
    expect(first.len == page->len && memcmp(first.name, page->name, first.len) != 0, "two Names");
    memcpy(page->name, first.name, sizeof page->name);
    sign_once(&task);
    sign_once(&second);
    pid_t pid = spoil_for_ever(page);
    for (time_t end = seconds() + LONG; seconds() < end;)
        sign_perhaps(&task);
    kill(pid, SIGKILL);
    expect(waitpid(pid, NULL, 0) == pid, "its end");
    page->dirty = 1;
    sign_once(&task);
    sign_once(&second);
    end_task(&task);
    end_task(&second);
}

/* limited URI: a key is loaded where no file may grow, and signs later. */
static void test_limited(char **argv)
{
    struct rlimit all = {0}, none;

    expect(getrlimit(RLIMIT_FSIZE, &all) == 0, "the limit");
    none = all;
    none.rlim_cur = 0;
    expect(setrlimit(RLIMIT_FSIZE, &none) == 0, "no file may grow");
    struct task task = make_task(load(NULL, argv[0]));
    expect(setrlimit(RLIMIT_FSIZE, &all) == 0, "files may grow");
    sign_once(&task);
    end_task(&task);
}

/*
 * filtered URI: a key is loaded and signs where memfd_create(2) kills, as it does by the filter
 * that systemd.exec(5) recommends with MemoryDenyWriteExecute=.
 */
static void test_filtered(char **argv)
{
    struct sock_filter steps[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_memfd_create, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)};
    const struct sock_fprog filter = {.len = sizeof steps / sizeof *steps, .filter = steps};

    expect(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
               prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter) == 0,
           "a filter");
    struct task task = make_task(load(NULL, argv[0]));
    sign_once(&task);
    end_task(&task);
}

static const struct {
    const char *name;
    void (*run)(char **argv);
    int num_arguments;
} tests[] = {{"threads", test_threads, 2},   {"turns", test_turns, 1},
             {"storm", test_storm, 3},       {"crowd", test_crowd, 2},
             {"midway", test_midway, 1},     {"callback", test_callback, 3},
             {"jail", test_jail, 4},         {"descriptors", test_descriptors, 2},
             {"inherits", test_inherits, 1}, {"leaves", test_leaves, 1},
             {"ends", test_ends, 1},         {"stalls", test_stalls, 1},
             {"daemon", test_daemon, 1},     {"opener", test_opener, 3},
             {"idle", test_idle, 2},         {"starves", test_starves, 2},
             {"zone", test_zone, 2},         {"limited", test_limited, 1},
             {"filtered", test_filtered, 1}, {"truncates", test_truncates, 1},
             {"spoils", test_spoils, 2},     {"quits", test_quits, 1},
             {"joins", test_joins, 1}};

int main(int argc, char **argv)
{
    for (size_t i = 0; argc > 1 && i < sizeof tests / sizeof *tests; i++) {
        if (strcmp(tests[i].name, argv[1]) != 0 || argc - 2 < tests[i].num_arguments)
            continue;
        tests[i].run(argv + 2);
        puts("ok");
        return 0;
    }
    fputs("usage: process TEST ARGUMENT...\n", stderr);
    return 2;
}
