/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/doctor.h"

#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static bool is_there(const struct lct_doctor *doctor, const char *path)
{
    char file[PATH_MAX];

    (void)snprintf(file, sizeof file, "%s%s", doctor->root, path);
    return access(file, F_OK) == 0;
}

/* The beginning of a file, its length or -1 with errno; a NUL follows. */
static ssize_t read_start(char *bytes, size_t size, const char *root, const char *path)
{
    char file[PATH_MAX];

    bytes[0] = '\0';
    (void)snprintf(file, sizeof file, "%s%s", root, path);
    int fd = open(file, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return -1;
    ssize_t n = read(fd, bytes, size - 1);
    int error = errno;
    close(fd);
    errno = error;
    bytes[n > 0 ? n : 0] = '\0';
    return n;
}

/* A version 1.2 is a problem only where the kernel's devices are the way in. False: it is one. */
static bool find_version(struct lct_doctor *doctor)
{
    static const char text[] = "the kernel's TPM is of version 1.2, which lct cannot use; switch "
                               "the firmware's settings to TPM 2.0 (fTPM, PTT) if they have it";
    const char *tcti = doctor->tool->config.tcti;
    bool needed = tcti == NULL || strncmp(tcti, "device", 6) == 0;
    char version[8], description[64];

    (void)read_start(version, sizeof version, doctor->root,
                     "/sys/class/tpm/tpm0/tpm_version_major");
    (void)read_start(description, sizeof description, doctor->root,
                     "/sys/class/tpm/tpm0/device/description");
    version[strcspn(version, "\n")] = '\0';
    description[strcspn(description, "\n")] = '\0';
    if (strcmp(version, "1") != 0)
        (void)lct_doctor_find(doctor, LCT_TOPIC_TPM, LCT_SEVERITY_OK, NULL,
                              "the kernel drives a TPM%s%s%s",
                              strcmp(version, "2") == 0 ? " 2.0" : "",
                              description[0] != '\0' ? ": " : "", description);
    else if (needed)
        (void)lct_doctor_problem(doctor, LCT_TOPIC_TPM, LCT_ERR_NO_TPM, NULL, "%s", text);
    else
        (void)lct_doctor_find(doctor, LCT_TOPIC_TPM, LCT_SEVERITY_NOTE, NULL, "%s", text);
    return strcmp(version, "1") != 0 || !needed;
}

static bool find_kernel(struct lct_doctor *doctor)
{
    if (!is_there(doctor, "/sys/class/tpm/tpm0")) {
        (void)lct_doctor_find(doctor, LCT_TOPIC_TPM, LCT_SEVERITY_NOTE, NULL,
                              "the kernel knows of no TPM; if the machine has one, switch it on in "
                              "the firmware's settings (fTPM, PTT, security device)");
        return true;
    }
    bool usable = find_version(doctor);
    if (usable && (is_there(doctor, "/dev/tpmrm0") || is_there(doctor, "/sys/class/tpmrm/tpmrm0")))
        (void)lct_doctor_find(doctor, LCT_TOPIC_WAY, LCT_SEVERITY_OK, NULL,
                              "the kernel has a resource manager (/dev/tpmrm0)");
    else if (usable)
        (void)lct_doctor_find(doctor, LCT_TOPIC_WAY, LCT_SEVERITY_WARNING, "apt install tpm2-abrmd",
                              "the kernel has no resource manager (/dev/tpmrm0): only one program "
                              "at a time can use the TPM");
    return usable;
}

static void find_tee(struct lct_doctor *doctor)
{
    if (is_there(doctor, "/sys/bus/tee") || is_there(doctor, "/dev/tee0"))
        (void)lct_doctor_find(doctor, LCT_TOPIC_TPM, LCT_SEVERITY_NOTE,
                              is_there(doctor, "/sys/class/tpm/tpm0") ? NULL
                                                                      : "modprobe tpm_ftpm_tee",
                              "there is a trusted execution environment (TrustZone, OP-TEE), which "
                              "may have a TPM in firmware");
}

/* UEFI 2.10, 3.3: four bytes of attributes, then the value. */
static void find_secure_boot(struct lct_doctor *doctor)
{
    char pattern[PATH_MAX], value[8];
    glob_t found = {0};

    (void)snprintf(pattern, sizeof pattern, "%s/sys/firmware/efi/efivars/SecureBoot-*",
                   doctor->root);
    if (glob(pattern, GLOB_NOSORT, NULL, &found) == 0 &&
        read_start(value, sizeof value, "", found.gl_pathv[0]) == 5)
        (void)json_object_set_new(
            lct_doctor_find(
                doctor, LCT_TOPIC_BOOT, value[4] == 1 ? LCT_SEVERITY_OK : LCT_SEVERITY_WARNING,
                NULL, "Secure Boot is %s",
                value[4] == 1 ? "on" : "off: anybody at the machine can start another system"),
            "secure_boot", json_boolean(value[4] == 1));
    else
        (void)lct_doctor_find(
            doctor, LCT_TOPIC_BOOT, LCT_SEVERITY_NOTE, NULL, "Secure Boot is not to be seen: %s",
            is_there(doctor, "/sys/firmware/efi") ? "the firmware shows no such variable"
                                                  : "UEFI did not start this system");
    globfree(&found);
}

static void find_event_log(struct lct_doctor *doctor)
{
    const char *path = lct_kernel_eventlog;
    char start[8];
    ssize_t n = read_start(start, sizeof start, doctor->root, path);

    if (n > 0)
        (void)lct_doctor_find(doctor, LCT_TOPIC_BOOT, LCT_SEVERITY_OK, NULL,
                              "the event log of the boot is at %s", path);
    else if (n < 0 && errno == EACCES)
        (void)lct_doctor_find(doctor, LCT_TOPIC_BOOT, LCT_SEVERITY_NOTE, "sudo lct doctor",
                              "the event log of the boot, if there is one, is for root to read");
    else
        (void)lct_doctor_find(doctor, LCT_TOPIC_BOOT, LCT_SEVERITY_NOTE, NULL,
                              "there is no event log of the boot at %s", path);
}

bool lct_doctor_machine(struct lct_doctor *doctor)
{
    bool usable = find_kernel(doctor);

    find_tee(doctor);
    find_secure_boot(doctor);
    find_event_log(doctor);
    return usable;
}
