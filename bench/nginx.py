"""
The peer to compare with: nginx with Debian's libnginx-mod-rtmp, in a configuration made for the run.

Everything stands at the module's defaults but for three things: room for as many connections as the machine
allows, no pings (players here throw away what they read and would never answer), and no access log.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from bench.errors import BenchError
from bench.place import Place

CHUNK_SIZE = 4096
_MODULE = Path("/usr/lib/nginx/modules/ngx_rtmp_module.so")
_CONFIGURATION = """\
load_module {module};
user {user};
daemon off;
worker_processes 1;
worker_rlimit_nofile {files};
pid {directory}/nginx.pid;
error_log {directory}/error.log error;
events {{
    worker_connections {files};
}}
rtmp {{
    access_log off;
    server {{
        listen 127.0.0.1:{port};
        chunk_size {chunk_size};
        ping 0;
        application live {{
            live on;
            wait_key on;
        }}
    }}
}}
"""


def command(place: Place) -> list[str]:
    """
    Write the configuration.

    Args:
        place: of the measurement.

    Returns:
        The command line that starts nginx with it.

    Raises:
        BenchError: nginx or its RTMP module is not installed.
    """
    program = _program()
    if not _MODULE.exists():
        raise BenchError(f"{_MODULE} is missing (Debian: apt install libnginx-mod-rtmp)")
    user = "root" if os.geteuid() == 0 else "nobody"
    _, _, directory, files = place
    path = directory / "nginx.conf"
    path.write_text(
        _CONFIGURATION.format(
            module=_MODULE, user=user, files=files, directory=directory, port=place.port, chunk_size=CHUNK_SIZE
        )
    )
    return [program, "-p", str(directory), "-c", str(path), "-e", str(directory / "error.log")]


def version() -> str:
    """
    Name what was measured.

    Returns:
        For example "nginx/1.22.1 libnginx-mod-rtmp 1.2.2-1".
    """
    nginx = subprocess.run([_program(), "-v"], capture_output=True, text=True, check=False).stderr
    query = ["dpkg-query", "--show", "--showformat", "${Package} ${Version}", "libnginx-mod-rtmp"]
    try:
        module = subprocess.run(query, capture_output=True, text=True, check=False).stdout
    except FileNotFoundError:
        module = ""
    return f"{nginx.rpartition(': ')[2].strip()} {module}".strip()


def _program() -> str:
    program = shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    if program is None:
        raise BenchError("nginx is not installed (Debian: apt install libnginx-mod-rtmp)")
    return program
