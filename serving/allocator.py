"""How the process asks the C library for memory."""

import ctypes

_M_ARENA_MAX = -8  # <malloc.h> of glibc


def share_one_arena() -> bool:
    """Let all threads allocate from one arena of glibc's malloc; False where the C library has no such choice.

    To be called before threads are started. Left alone, glibc gives threads arenas of their own, eight a core, and each
    keeps what it once needed: rows of the decision log are made by any of dozens of threads and freed by one other, so
    the memory of a process went on growing for as long as arenas met new peaks. Threads here hold the interpreter's
    lock nearly always when they allocate, so they do not wait for each other's arena.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    return mallopt is not None and bool(mallopt(_M_ARENA_MAX, 1))
