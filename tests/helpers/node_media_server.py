"""Node-Media-Server from npm: installed into a folder of the tests', run in a directory and on ports of its own."""

from __future__ import annotations

import json
from pathlib import Path

from tests.helpers import npm
from tests.helpers.api import Answer, Api
from tests.helpers.ports import free_port
from tests.helpers.processes import Program

PACKAGE = "node-media-server@4.4.3"
"""The relay tasks of RTMP came with 4.4; their API is that of this version."""
_USER = {"username": "admin", "password": "of the tests"}


def install(directory: Path) -> Path:
    """
    Install it by npm. Where that fails the test fails if peers are required, else it is skipped.

    Args:
        directory: is there; gets node_modules.

    Returns:
        The program, for node.
    """
    return npm.install(directory, PACKAGE) / "bin" / "app.js"


class NodeMediaServer(Program):
    """One Node-Media-Server, to be used as a context manager."""

    def __init__(self, directory: Path, program: Path) -> None:
        """
        Start it.

        Args:
            directory: empty or not there; gets its configuration and its store.
            program: as `install` returned it.
        """
        directory.mkdir(parents=True, exist_ok=True)
        self.address = ("127.0.0.1", free_port())
        """Where RTMP is accepted."""
        self._http_address = ("127.0.0.1", free_port())
        config = directory / "config.json"
        config.write_text(json.dumps(self._config(directory)))
        super().__init__(["node", program, "--config", config])

    def __enter__(self):
        try:
            for server, (host, port) in (("Rtmp Server", self.address), ("HTTP server", self._http_address)):
                self.wait_for_line(f"{server} listening on port {host}:{port}")
            login = _succeeded(Api(self._http_address).post("login", _USER))
        except BaseException as error:
            self.kill()
            error.add_note(self.report())
            raise
        self._api = Api(self._http_address, login["data"]["token"])
        return self

    def url(self, stream: str) -> str:
        """Make the URL of a stream."""
        return f"rtmp://127.0.0.1:{self.address[1]}/live/{stream}"

    def wait_for_player(self, stream: str) -> None:
        """Wait until somebody plays a stream, whether it is published or not."""
        self.wait_for_line(f"start play /live/{stream}")

    def wait_for_pull(self) -> None:
        """Wait until the other server has said that it plays to a relay task."""
        self.wait_for_line("status NetStream.Play.Start")

    def wait_for_push(self) -> None:
        """Wait until the other server has granted a relay task's publish; what is published here from now on goes there."""
        self.wait_for_line("status NetStream.Publish.Start")

    def start_relay(self, mode: str, stream: str, url: str) -> None:
        """
        Create a relay task.

        Args:
            mode: pull, from the URL to the stream; or push, from the stream, which somebody publishes, to the URL.
                A pull loses what the other server sends at once with its answer to play: it is of use for a stream
                that begins later.
            stream: of its own.
            url: of the other server's stream.
        """
        _succeeded(self._api.post("relay", {"mode": mode, "streamPath": f"/live/{stream}", "url": url}))

    def stop_relay(self, mode: str, stream: str, url: str) -> None:
        """Remove a relay task; the arguments are those that made it."""
        task = {"mode": mode, "streamPath": f"/live/{stream}", "url": url}
        _succeeded(self._api.request("DELETE", "relay", task, {}))

    def _config(self, directory: Path) -> dict[str, object]:
        return {
            "bind": "127.0.0.1",
            "rtmp": {"port": self.address[1]},
            "http": {"port": self._http_address[1]},
            "auth": {"secret": "streams", "jwt": {"secret": "tokens", "users": [_USER | {"role": "admin"}]}},
            "store": {"path": str(directory / "store")},
            "record": {"auto": False, "path": str(directory / "record")},
            "webadmin": {"enable": False},
        }


def _succeeded(answer: Answer) -> dict:
    assert answer.status == 200, answer
    assert answer.body["success"], answer
    return answer.body
