#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# Warns, after update-initramfs, which keys the next boot will not open, and says what approves it. Silent where there
# is none; says why it cannot look; never makes update-initramfs fail. As /etc/initramfs/post-update.d/lct:
#     lct config initramfs-hook >/etc/initramfs/post-update.d/lct
#     chmod 755 /etc/initramfs/post-update.d/lct
# A kernel's own hook has warned already where that is who makes the initramfs (deb-kernel hooks: DEB_MAINT_PARAMS).
[ -z "${DEB_MAINT_PARAMS-}" ] || exit 0
command -v lct >/dev/null || exit 0
lct affected initramfs >&2 || :
exit 0
