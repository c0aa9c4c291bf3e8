"""The real program as a child process, and the clients that talk to it."""

import json
import os
import queue
import re
import signal
import subprocess
import threading
import time

import requests
from eas_prediction import QueueClient

TOKEN = "flow-test-token"
START_SECONDS = 30
STOP_SECONDS = 30

_ANNOUNCEMENT = re.compile(r"photog listening on http://127\.0\.0\.1:(\d+)\s*")


class Photog:
    """One data folder with `photog serve` on it; it can be ended and started again."""

    def __init__(self, folder, services=(), environment=None):
        """`services` are JSON objects; without any the program starts its built-in services."""
        self.folder = folder
        self.data_folder = folder / "data"
        self.environment = environment or {}
        self.stderr_path = folder / "stderr.log"
        self.host = "127.0.0.1"
        self.port = 0
        self.token = TOKEN
        self.process = None
        self._lines = queue.SimpleQueue()
        self._clients = []
        self.configure(services)

    def configure(self, services):
        """Sets the services of the next start."""
        self.service_files = []
        for service in services:
            path = self.folder / (service["metadata"]["name"] + ".json")
            path.write_text(json.dumps(service))
            self.service_files.append(path)

    def start(self):
        """Starts the program, on the port of an earlier start if there was one."""
        command = [os.environ["PHOTOG_BIN"], "serve"]
        command += ["--listen", f"{self.host}:{self.port}"]
        command += ["--data-dir", str(self.data_folder), "--token", self.token]
        for path in self.service_files:
            command += ["--service", str(path)]
        with self.stderr_path.open("ab") as stderr:
            self.process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=stderr,
                env=_clean_environment() | self.environment,
                cwd=self.folder,
            )
        self.port = self._announced_port()
        return self

    def _announced_port(self):
        self._lines = lines = queue.SimpleQueue()
        threading.Thread(
            target=_read_lines, args=(self.process.stdout, lines), daemon=True
        ).start()
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                line = lines.get(timeout=max(0.0, deadline - time.monotonic()))
            except queue.Empty:
                line = None
            if line is None:
                self.kill()
                raise AssertionError(
                    f"photog did not say where it listens (exit code {self.process.returncode}):\n"
                    + self.stderr_tail()
                )
            if found := _ANNOUNCEMENT.fullmatch(line):
                return int(found[1])

    def next_line(self, seconds=START_SECONDS):
        """The next line on standard output after those that were read; fails after `seconds`."""
        return self._lines.get(timeout=seconds)

    @property
    def running(self):
        return self.process is not None and self.process.poll() is None

    def send_signal(self, number):
        """Sends a signal to this child and to nothing else."""
        self.process.send_signal(number)

    def wait(self, seconds=STOP_SECONDS):
        """The exit code, once the program has ended; fails after `seconds`."""
        return self.process.wait(seconds)

    def stop(self, number=signal.SIGTERM):
        """Asks the program to end in good order and holds it to its exit code."""
        self.send_signal(number)
        assert self.wait() == 0, f"exit code {self.process.returncode} after signal {number}"

    def kill(self):
        """Ends the program as a power cut would end it."""
        self.process.kill()
        self.process.wait(STOP_SECONDS)

    def close(self):
        """Lets go of clients and of a program that is still running."""
        for client in self._clients:
            client.destroy()
            client.connection_pool.clear()
        if not self.running:
            return
        try:
            self.stop()
        finally:
            if self.running:
                self.kill()

    def client(self, name, uid=None, gid="eas", token=TOKEN, **init):
        """The unmodified SDK client of a queue such as `queue_try` or `queue_try/sink`."""
        client = QueueClient(f"{self.host}:{self.port}", name)
        client.set_token(token)
        client.init(uid=uid, gid=gid, **init)
        self._clients.append(client)
        return client

    def url(self, name):
        """Address of a queue such as `queue_try/sink`, or of any path that starts with a slash."""
        path = name if name.startswith("/") else f"/api/predict/{name}"
        return f"http://{self.host}:{self.port}{path}"

    def http(self, method, name, params=None, headers=None, **more):
        """A plain HTTP request to `url(name)`, with the token unless `headers` has another one."""
        with requests.Session() as session:
            session.trust_env = False
            return session.request(
                method,
                self.url(name),
                params=params,
                headers={"Authorization": self.token} | (headers or {}),
                timeout=more.pop("timeout", 30),
                allow_redirects=False,
                **more,
            )

    def anonymous_memory(self):
        """Bytes of memory the program holds apart from mapped files (Linux)."""
        with open(f"/proc/{self.process.pid}/status") as status:
            for line in status:
                if line.startswith("RssAnon:"):
                    return int(line.split()[1]) * 1024
        raise AssertionError("no RssAnon in /proc/PID/status")

    def stderr_tail(self, limit=20_000):
        return self.stderr_path.read_bytes()[-limit:].decode("utf-8", "replace")


def _read_lines(stream, lines):
    for line in stream:
        lines.put(line.decode("utf-8", "replace"))
    lines.put(None)


def _clean_environment():
    """The caller's environment without what would change the program's settings or its routes."""
    return {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("PHOTOG_") and not name.lower().endswith("_proxy")
    }
