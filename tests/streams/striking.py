"""A signal handler that raises, between any two calls of what is tried."""

import dis
import sys


class Stop(BaseException):
    """What it raises: nothing that anybody catches by name."""


def interrupted(call, after, within):
    """Call it, and raise after so many calls in the functions `within`, as a signal handler may; whether it came to pass."""
    codes = {function.__code__ for function in within}
    left = [after]

    def trace(frame, event, _):
        if frame.f_code not in codes:
            return None
        frame.f_trace_opcodes = True
        before = [""]

        def step(frame, event, _):
            if event == "opcode":
                if before[0].startswith(("CALL", "JUMP_BACKWARD")):
                    left[0] -= 1
                    if left[0] == -1:  # once: what is done about it is not struck again
                        raise Stop
                before[0] = dis.opname[frame.f_code.co_code[frame.f_lasti]]
            return step

        return step

    before = sys.gettrace()
    sys._getframe().f_trace_opcodes = True  # 3.12 asks for it when tracing begins
    sys.settrace(trace)
    try:
        call()
    except Stop:
        return True
    finally:
        sys.settrace(before)
    return False
