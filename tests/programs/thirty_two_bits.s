# SPDX-License-Identifier: Apache-2.0
# A 32-bit program that sleeps in nanosleep for ever.
        .globl _start
        .text
_start:
        movl $162, %eax         # nanosleep
        movl $request, %ebx
        xorl %ecx, %ecx
        int $0x80
        jmp _start
        .data
request:
        .long 1, 0
