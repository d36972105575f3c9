"""Every line of the output is one JSON object, whoever writes it and however many write at once."""

import json
import subprocess
import sys
from pathlib import Path

PROGRAM = """
import logging.config, sys, threading
import structlog
from serving import logs

logs.configure()
logging.config.dictConfig(logs.of_libraries())

def write(writer):
    for number in range(200):
        structlog.get_logger().info("request", writer=writer, number=number)
        logging.getLogger("uvicorn.error").info("%s wrote %d", writer, number)

threads = [threading.Thread(target=write, args=(f"{sys.argv[1]} {i}",)) for i in range(3)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
"""
ROOT = Path(__file__).parents[3]
WRITERS = 3
LINES = WRITERS * 3 * 200 * 2


def test_lines_of_workers_and_threads_that_share_the_output_stay_whole(tmp_path: Path) -> None:
    output = tmp_path / "output"
    with output.open("ab") as file:
        workers = [
            subprocess.Popen([sys.executable, "-u", "-c", PROGRAM, str(number)], stdout=file, cwd=ROOT)
            for number in range(WRITERS)
        ]
        assert [worker.wait(60) for worker in workers] == [0] * WRITERS
    lines = [json.loads(line) for line in output.read_text().splitlines()]
    assert len(lines) == LINES
    assert {line["level"] for line in lines} == {"info"}
