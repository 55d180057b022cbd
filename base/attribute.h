/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LCT_BASE_ATTRIBUTE_H
#define LCT_BASE_ATTRIBUTE_H

/* The compiler's extensions that we use, empty where it has none. */
#if defined(__GNUC__)
#define LCT_PRINTF(fmt, args) __attribute__((format(printf, fmt, args)))
#define LCT_EXPORT __attribute__((visibility("default")))
#define LCT_AT_EXIT __attribute__((destructor)) /* called when the program or the library ends */
#else
#define LCT_PRINTF(fmt, args)
#define LCT_EXPORT
#define LCT_AT_EXIT
#endif

#endif
