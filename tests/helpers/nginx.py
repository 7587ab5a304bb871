"""nginx with its RTMP module (Debian: libnginx-mod-rtmp), in a directory and on a port of its own."""

from __future__ import annotations

import socket
from pathlib import Path

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
    server {{
        listen 127.0.0.1:{port};
        application live {{
            live on;
            {more}
        }}
    }}
}}
"""


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
        with socket.create_server(("127.0.0.1", port)) as free:
            self.port = free.getsockname()[1]
        config = directory / "nginx.conf"
        config.write_text(_CONFIG.format(directory=directory, port=self.port, more=more))
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

    def _answers(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0
