#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# Warns, after a kernel was installed, which keys the next boot will not open, and says what approves it. Silent where
# there is none; says why it cannot look; never makes the installation fail. As /etc/kernel/postinst.d/zz-lct:
#     lct config kernel-hook >/etc/kernel/postinst.d/zz-lct
#     chmod 755 /etc/kernel/postinst.d/zz-lct
# Not on standard output: debconf may have that.
command -v lct >/dev/null || exit 0
lct affected kernel >&2 || :
exit 0
