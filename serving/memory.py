"""How a serving process asks for memory, and how seldom it looks for garbage."""

import ctypes
import gc

_M_ARENA_MAX = -8  # <malloc.h> of glibc
NEW_OBJECTS = 10_000  # before the youngest are looked through; Python's 700 are made by a few answers


def share_one_arena() -> bool:
    """Let all threads allocate from one arena of glibc's malloc; False where the C library has no such choice.

    To be called before threads are started. Left alone, glibc gives threads arenas of their own, eight a core, and each
    keeps what it once needed: rows of the decision log are made by any of dozens of threads and freed by one other, so
    the memory of a process went on growing for as long as arenas met new peaks. Threads here hold the interpreter's
    lock nearly always when they allocate, so they do not wait for each other's arena.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    return mallopt is not None and bool(mallopt(_M_ARENA_MAX, 1))


def collect_seldom() -> None:
    """Leave out of every garbage collection what the process has loaded by now, and collect a tenth as often.

    To be called once everything is imported. Reference counting frees the objects of an answer by itself, so looking
    through them finds nothing; looking through all that libraries have loaded stops every answer of the process for
    longer than several of them take.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(NEW_OBJECTS, *gc.get_threshold()[1:])
