"""A real rtmpd in a process of its own, on a free port and in a directory of its own, with its log as dictionaries."""

from __future__ import annotations

import json
import os
import signal
import socket
import ssl
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from tests.helpers.api import Api
from tests.helpers.processes import PATIENCE_S, Program, wait_until

_KEYS = {"timestamp", "level", "event"}
"""What every line of the log has."""


class Certificate(NamedTuple):
    """What a server shows of itself, as PEM files."""

    chain: Path
    key: Path
    authority: Path
    """Whom a client has to trust."""

    def config(self) -> str:
        """The tables of the configuration; HTTPS has the same certificate by default."""
        return f'\n[rtmps]\nlisten = "127.0.0.1:0"\ncert = "{self.chain}"\nkey = "{self.key}"\n[https]\nlisten = "127.0.0.1:0"\n'

    def context(self) -> ssl.SSLContext:
        """For clients that check it."""
        return ssl.create_default_context(cafile=self.authority)


class Server(Program):
    """
    One rtmpd, to be used as a context manager.

    It must end as it should: at the end of the block it is told to stop, and has to exit with 0, without an error in
    its log that the test did not allow and without a line that is not part of the log.
    """

    def __init__(
        self,
        directory: Path,
        config: str = "[apps.live]",
        *,
        certificate: Certificate | None = None,
        verb: str = "serve",
        arguments: Sequence[str] = (),
    ) -> None:
        """
        Start it.

        Args:
            directory: empty or not there; gets the configuration and the data directory.
            config: TOML.
            certificate: accept RTMPS with it, on a port of its own, and HTTPS, too.
            verb: serve or demo.
            arguments: more of them for the command line.
        """
        if certificate is not None:
            config += certificate.config()
        directory.mkdir(parents=True, exist_ok=True)
        self.data = directory / "data"
        self.config = directory / "rtmpd.toml"
        self.config.write_text(config)
        self.log: list[dict] = []
        self.noise: list[str] = []
        """Lines of standard error that are no part of the log: warnings and tracebacks."""
        self.allowed_errors: set[str] = set()
        """Events of level error that the test provokes."""
        self._port = self._tls_port = 0
        self.http_address = self.https_address = ("127.0.0.1", 0)
        """Where HTTP is accepted, and over TLS."""
        listen = [option for each in ("--rtmp", "--http") if each not in arguments for option in (each, "127.0.0.1:0")]
        # A socket's path may have 107 bytes, which a test's own directory can exceed.
        self._short = tempfile.TemporaryDirectory(prefix="rtmpd-")
        self.control = Path(self._short.name) / "sock"
        command = [sys.executable, "-m", "rtmpd", verb, "--config", self.config, "--data", self.data]
        super().__init__([*command, "--control", self.control, *listen, *arguments], process_group=0)

    def __enter__(self):
        try:
            line = self.wait_for("serving")
            self._port, self._tls_port = _port(line["rtmp"]), _port(line["rtmps"])
            self.http_address = ("127.0.0.1", _port(line["http"]))
            self.https_address = ("127.0.0.1", _port(line["https"]))
        except BaseException as failure:
            self.kill()
            self._short.cleanup()  # or the collector does it, in some later test, which fails by that
            failure.add_note(self.report())
            raise
        return self

    def __exit__(self, kind, error, traceback) -> None:
        if error is None and self.running:
            try:
                self.stop()
            except BaseException as failure:
                self.kill()
                failure.add_note(self.report())
                raise
        super().__exit__(kind, error, traceback)
        self._short.cleanup()

    @property
    def api(self) -> Api:
        """The control API, by the control socket."""
        return Api(self.control)

    @property
    def address(self) -> tuple[str, int]:
        """Where RTMP is accepted."""
        return "127.0.0.1", self._port

    @property
    def tls_address(self) -> tuple[str, int]:
        """Where RTMPS is accepted."""
        return "127.0.0.1", self._tls_port

    def url(self, path: str) -> str:
        """Make the URL of an application and stream, `live/name`."""
        return f"rtmp://127.0.0.1:{self._port}/{path}"

    def tls_url(self, path: str) -> str:
        """Make its URL over TLS."""
        return f"rtmps://127.0.0.1:{self._tls_port}/{path}"

    def http_url(self, path: str, scheme: str = "http") -> str:
        """Make the URL of what is served over HTTP, `live/name.flv`."""
        return f"{scheme}://127.0.0.1:{self.http_address[1]}/{path}"

    def recordings(self, stream: str = "") -> list[Path]:
        """The files recorded so far, of all streams or of one (`live/name`), in the order of their names."""
        return sorted(path for path in (self.data / "recordings" / stream).rglob("*") if path.is_file())

    def found(self, event: str, **match) -> list[dict]:
        """The log lines so far of an event, with the given values."""
        return [line for line in list(self.log) if line["event"] == event and match.items() <= line.items()]

    def wait_for(self, event: str, *, count: int = 1, timeout_s: float = PATIENCE_S, **match) -> dict:
        """
        Wait for a log line.

        Args:
            event: of the line.
            count: lines of this kind that there must be; the last of them is returned.
            timeout_s: after which the test fails.
            match: values that the line must have.

        Returns:
            The line, also when it came before.
        """
        with self._heard:
            self._heard.wait_for(lambda: len(self.found(event, **match)) >= count or not self._readable(), timeout_s)
        found = self.found(event, **match)
        assert len(found) >= count, f"{len(found)} log lines {event!r} {match}, not {count}"
        return found[count - 1]

    def wait_for_players(self, stream: str, count: int = 1) -> None:
        """
        Wait until somebody has asked to play a stream: what is published from now on is played from its beginning.

        Args:
            stream: `live/name`; may be one that nobody publishes yet.
            count: players that there must be.
        """

        def asked() -> bool:
            clients = self.api.get("clients").body["clients"]
            return [(each["role"], each["stream"]) for each in clients].count(("play", stream)) >= count

        wait_until(asked, f"{count} players of {stream}")

    def stop(self, timeout_s: float = PATIENCE_S) -> None:
        """
        Tell it to stop and see that it does so properly.

        Args:
            timeout_s: for closing everything.
        """
        workers = self.children()
        self.signal(signal.SIGTERM)
        code = self.wait(timeout_s)
        assert code == 0, f"exit code {code}"
        wait_until(lambda: not any(map(is_alive, workers)), f"the end of the processes {workers} of the server")
        self.check_log()

    def kill_all(self) -> None:
        """End it together with its workers, as the kernel does: who lived on for a moment would act on the other's end."""
        workers = self.children()
        os.killpg(self.pid, signal.SIGKILL)
        self.kill()
        wait_until(lambda: not any(map(is_alive, workers)), f"the end of the processes {workers} of the server")

    def check_log(self) -> None:
        """See that nothing was logged that should not happen."""
        errors = [line for line in self.log if line["level"] == "error" and line["event"] not in self.allowed_errors]
        assert not errors, errors
        assert not self.noise, self.noise

    def hear(self, line: str) -> None:
        """Take a line of standard error apart."""
        try:
            entry = json.loads(line)
        except ValueError:
            entry = None
        if isinstance(entry, dict) and entry.keys() >= _KEYS:
            self.log.append(entry)
        else:
            self.noise.append(line)

    def children(self) -> list[int]:
        """The processes that it started and that live: media workers, the demo's publisher."""
        text = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text()
        return [int(pid) for pid in text.split()]

    def child(self, word: str) -> int:
        """The process id of the one child that has a word in its command line, such as the module that it runs."""
        (child,) = (pid for pid in self.children() if word.encode() in _command_line(pid).split(b"\0"))
        return child

    def media_worker(self) -> int:
        """The process id of its one media worker; the same module repairs files, beside it and without queues."""
        return self.child("--queue-bytes")

    def resident_bytes(self) -> int:
        """Memory of the process alone."""
        pages = int(Path(f"/proc/{self.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")

    def cpu_s(self) -> float:
        """Processor time that it has used: what it worked, however long it was kept from it."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def open_files(self) -> int:
        """How many descriptors it has."""
        return len(list(Path(f"/proc/{self.pid}/fd").iterdir()))

    def unsent_bytes(self, client_port: int) -> int:
        """What the kernel holds for a client: bytes that the server has written and the client has not acknowledged."""
        mine = f"{int.from_bytes(socket.inet_aton('127.0.0.1'), 'little'):08X}"
        pairs = {(f"{mine}:{port:04X}", f"{mine}:{client_port:04X}") for port in (self._port, self._tls_port)}
        for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
            fields = line.split()
            if (fields[1], fields[2]) in pairs:
                return int(fields[4].partition(":")[0], 16)
        return 0


def _port(address: str | None) -> int:
    return int(address.rpartition(":")[2]) if address else 0


def is_alive(pid: int) -> bool:
    """Whether a process is there, and more than an entry that waits for its parent."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


def _command_line(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""
