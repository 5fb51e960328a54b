"""A private PostgreSQL: its folder, its port, its death; run as an unprivileged user when the tests are root."""
import os
import pathlib
import pwd
import shutil
import signal
import subprocess
import tempfile

from conftest import free_port, wait_for


def find_programs():
    folders = sorted(pathlib.Path("/usr/lib/postgresql").glob("*/bin"), key=lambda folder: int(folder.parent.name))
    return folders[-1] if folders and int(folders[-1].parent.name) >= 14 else None


PROGRAMS = find_programs()


class Postgres:
    def __init__(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="celld-pg-"))
        self.data = self.folder / "data"
        self.port = free_port()
        self.process = None
        self.identity = {}
        if os.geteuid() == 0:
            names = {entry.pw_name for entry in pwd.getpwall()}
            user = pwd.getpwnam("postgres" if "postgres" in names else "nobody")
            self.identity = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
            os.chown(self.folder, user.pw_uid, user.pw_gid)
        password = self.folder / "password"
        password.write_text("first secret")
        os.chmod(password, 0o644)
        subprocess.run([PROGRAMS / "initdb", "-D", self.data, "-U", "cell", "--pwfile", password, "-A", "scram-sha-256",
            "-E", "UTF8", "--locale=C.UTF-8", "--no-sync", "--no-instructions"], check=True, capture_output=True, cwd=self.folder, **self.identity)

    def options(self, database="postgres", host=None):
        return f"host={host or self.folder} port={self.port} user=cell password='first secret' dbname={database}"

    def start(self):
        self.process = subprocess.Popen([PROGRAMS / "postgres", "-D", self.data, "-p", str(self.port), "-k", self.folder,
            "-c", "listen_addresses=127.0.0.1", "-c", "max_connections=20", "-c", "shared_buffers=8MB"],
            stdout=open(self.folder / "log", "ab"), stderr=subprocess.STDOUT, cwd=self.folder, **self.identity)
        wait_for(self.answers, 30, "PostgreSQL")
        return self

    def answers(self):
        assert self.process.poll() is None, (self.folder / "log").read_text()
        return self.sql("SELECT 1", check=False).returncode == 0

    def sql(self, statement, database="postgres", check=True):
        return subprocess.run([PROGRAMS / "psql", "-X", "-q", "-A", "-t", "-c", statement, self.options(database)], check=check,
            capture_output=True, text=True, timeout=60)

    def database(self, name):
        self.sql(f"CREATE DATABASE {name}")
        return name

    def children(self):
        found = []
        for stat in pathlib.Path("/proc").glob("[0-9]*/stat"):
            try:
                fields = stat.read_text().rsplit(")", 1)[1].split()
            except OSError:
                continue
            if int(fields[1]) == self.process.pid:
                found.append(int(stat.parent.name))
        return found

    def crash(self):
        """kill -9, as a lost machine: nothing is said to anybody, nothing is written."""
        self.process.send_signal(signal.SIGSTOP)  # so that it starts no others meanwhile
        children = self.children()
        self.process.kill()
        for child in children:
            try:
                os.kill(child, signal.SIGKILL)
            except ProcessLookupError:
                pass
        self.process.wait()
        wait_for(lambda: not any(os.path.exists(f"/proc/{child}") for child in children), 30, "the end of its children")

    def freeze(self, is_frozen):
        """It answers nobody, and closes nothing."""
        for process in [self.process.pid, *self.children()]:
            os.kill(process, signal.SIGSTOP if is_frozen else signal.SIGCONT)

    def stop(self):
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
            self.process.wait(30)
        shutil.rmtree(self.folder, ignore_errors=True)
