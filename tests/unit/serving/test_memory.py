"""Threads share one arena of malloc, and what was loaded at the start is no longer looked through for garbage."""

import platform
import subprocess
import sys

import pytest

PROGRAM = """
import ctypes, sys, threading
from serving.memory import share_one_arena

if sys.argv[1] == "shared":
    assert share_one_arena()
libc = ctypes.CDLL(None)
libc.malloc.restype = ctypes.c_void_p
together = threading.Barrier(6)
places = []

def take():
    together.wait()  # all alive at once: none may have the arena of one that has ended
    places.append(libc.malloc(50_000) >> 26)  # arenas of threads begin at multiples of 64 MiB
    together.wait()

threads = [threading.Thread(target=take) for _ in range(6)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
print(len(set(places)))
"""


def arenas(how):
    """In how many regions six threads find memory."""
    command = [sys.executable, "-c", PROGRAM, how]
    return int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="arenas are glibc's")
def test_threads_share_one_arena_that_they_would_not_share_otherwise():
    assert arenas("shared") == 1
    assert arenas("alone") > 1


LOADED = """
import gc
from serving.memory import collect_seldom

loaded = [[number] for number in range(1000)]
collect_seldom()
assert not any(kept is loaded[0] for kept in gc.get_objects())

class Tied:
    pass

for _ in range(20_000):
    tied = Tied()
    tied.itself = tied
print(sum(isinstance(kept, Tied) for kept in gc.get_objects()))
"""


def test_what_was_loaded_is_left_alone_and_garbage_is_still_collected():
    left = subprocess.run([sys.executable, "-c", LOADED], capture_output=True, text=True, check=True).stdout
    assert int(left) < 20_000
