"""nginx with its RTMP module (Debian: libnginx-mod-rtmp), in a directory and on a port of its own."""

from __future__ import annotations

import socket
import urllib.request
from pathlib import Path
from xml.etree import ElementTree as ET

from tests.helpers.ports import free_port
from tests.helpers.processes import PATIENCE_S, Program, wait_until

_CONFIG = """\
load_module /usr/lib/nginx/modules/ngx_rtmp_module.so;
daemon off;
worker_processes 1;
pid {directory}/nginx.pid;
error_log {directory}/error.log error;
events {{
    worker_connections 64;
}}
rtmp {{
    access_log off;
    out_queue 8192;
    out_cork 32;
    server {{
        listen 127.0.0.1:{port};
        application live {{
            live on;
            {more}
        }}
    }}
}}
http {{
    access_log off;
    client_body_temp_path {directory}/body;
    proxy_temp_path {directory}/proxy;
    fastcgi_temp_path {directory}/fastcgi;
    uwsgi_temp_path {directory}/uwsgi;
    scgi_temp_path {directory}/scgi;
    server {{
        listen 127.0.0.1:{http_port};
        location / {{
            rtmp_stat all;
        }}
    }}
}}
"""
"""A client that stands still for a while loses nothing: by default nginx drops what is beyond 256 messages of a queue."""


class Nginx(Program):
    """One nginx, to be used as a context manager."""

    def __init__(self, directory: Path, more: str = "", *, port: int = 0) -> None:
        """
        Start it.

        Args:
            directory: empty or not there.
            more: directives for its application, live.
            port: a free one if not given.
        """
        directory.mkdir(parents=True, exist_ok=True)
        self.port = port or free_port()
        self._http_port = free_port()
        config = directory / "nginx.conf"
        ports = {"port": self.port, "http_port": self._http_port}
        config.write_text(_CONFIG.format(directory=directory, more=more, **ports))
        super().__init__(["nginx", "-p", directory, "-c", config, "-e", directory / "error.log"])

    def __enter__(self):
        wait_until(self._answers, "nginx to listen")
        return self

    def kill(self) -> None:
        """End it at once, its worker process too: SIGTERM, as a killed master leaves its workers behind."""
        if self.running:
            self._process.terminate()
            self._process.wait(PATIENCE_S)
        super().kill()

    def url(self, stream: str) -> str:
        """Make the URL of a stream."""
        return f"rtmp://127.0.0.1:{self.port}/live/{stream}"

    def wait_for_players(self, stream: str, count: int = 1) -> None:
        """Wait until so many play a stream, whether it is published or not."""
        wait_until(lambda: self._players(stream) >= count, f"{count} players of {stream} at nginx")

    def _players(self, stream: str) -> int:
        with urllib.request.urlopen(f"http://127.0.0.1:{self._http_port}/", timeout=PATIENCE_S) as answer:
            streams = ET.parse(answer).iterfind("server/application/live/stream")
        clients = [client for each in streams if each.findtext("name") == stream for client in each.iterfind("client")]
        return sum(client.find("publishing") is None for client in clients)

    def _answers(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0
