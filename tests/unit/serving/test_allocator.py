"""Threads of a serving process share one arena of malloc, and what they free is had again by the others."""

import platform
import subprocess
import sys

import pytest

PROGRAM = """
import ctypes, sys, threading
from serving.allocator import share_one_arena

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
