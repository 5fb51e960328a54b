"""The bus against real servers: what it does, and what it survives."""
import os
import pathlib
import shutil
import subprocess

import pytest

from nats import SERVERS, NatsServer

SUITE = pathlib.Path(os.environ.get("CELLD_TESTS", pathlib.Path(__file__).parents[2] / "build/debug/tests")) / "bus_suite"


def suite(server, *arguments):
    return subprocess.Popen([SUITE, *arguments], env=dict(os.environ, NATS_URL=server.url), stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, text=True)


@pytest.mark.parametrize("binary", SERVERS)
def test_everything(binary, tmp_path):
    server = NatsServer(tmp_path, binary).start()
    try:
        run = suite(server)
        output, _ = run.communicate(timeout=120)
        assert run.returncode == 0, output
    finally:
        server.stop()


@pytest.mark.parametrize("binary", SERVERS)
def test_broken(binary, tmp_path):
    """Killed four times: the third time the stream is lost, but not what its consumer has seen (messages are numbered from 1 again);
    the last time all is lost."""
    server = NatsServer(tmp_path, binary).start()
    try:
        run, breaks, output = suite(server, "broken"), 0, []
        for line in run.stdout:
            output.append(line)
            if line == "break\n":
                breaks += 1
                server.kill()
            elif line == "mend\n":
                if breaks == 3:
                    [lost] = server.store.glob("**/streams/work/msgs")
                    shutil.rmtree(lost)
                if breaks == 4:
                    server.wipe()
                server.start()
        assert run.wait(60) == 0, "".join(output)
        assert breaks == 4
    finally:
        server.stop()


@pytest.mark.parametrize("binary", SERVERS)
def test_late(binary, tmp_path):
    server = NatsServer(tmp_path, binary)
    try:
        run, output = suite(server, "late"), []
        for line in run.stdout:
            output.append(line)
            if line == "mend\n":
                server.start()
        assert run.wait(60) == 0, "".join(output)
    finally:
        server.stop()
