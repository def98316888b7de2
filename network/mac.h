/* SPDX-License-Identifier: Apache-2.0 */
/* MAC addresses of virtual interfaces. Pure; any thread. */
#pragma once

#define MAC_TEXT_SIZE 18

/* NULL if the text is a unicast MAC address (six pairs of hex digits joined by colons), else what
 * is wrong. */
const char *mac_check(const char *text);
/* A new random address with the prefix 52:54:00, which QEMU and libvirt use for local ones. */
void mac_make(char ret_text[MAC_TEXT_SIZE]);
