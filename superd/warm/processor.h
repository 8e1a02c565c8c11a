// SPDX-License-Identifier: MIT
#pragma once
// Everything that depends on the processor. Another one needs a file like these two.
//
// Each has: Registers (what ptrace(2) calls NT_PRSTATUS); kArchitecture (of PTRACE_GET_SYSCALL_INFO); kReach (how far
// its stub may lie from the call that it goes back to; 0: anywhere); set_number, which changes the call that a thread
// has entered; at_call, the registers with which the entered call can be made again; set_call, result, set_stub; kRules
// of the calls that only this processor has; and for the stub: copy_process, resume.

#include <cstdint>

#include "warm/rules.h"

#if defined(__x86_64__)
#include "warm/processor_x86_64.h"
#elif defined(__aarch64__)
#include "warm/processor_aarch64.h"
#else
#error "superd-warm: add this processor"
#endif
