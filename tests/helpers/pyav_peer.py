"""
PyAV as a client, in a process that can be killed: its outputs know no time limit.

`python pyav_peer.py publish FILE URL` pushes a file in real time, as `ffmpeg -re -i FILE -c copy -f flv URL` does.
`python pyav_peer.py play URL` writes each packet as a JSON line: kind, dts, pts, size, md5.
`python pyav_peer.py look URL` decodes the first picture and writes its size, and whether it is a key frame.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
import time

import av

_TIMEOUT_S = (20.0, 20.0)


def publish(path: str, url: str) -> None:
    with av.open(path) as source, av.open(url, "w", format="flv") as target:
        streams = {each.index: target.add_stream_from_template(each, opaque=True) for each in source.streams}
        started_s = time.monotonic()
        for packet in source.demux():
            if packet.dts is None:
                continue
            time.sleep(max(0.0, started_s + float(packet.dts * packet.time_base) - time.monotonic()))
            packet.stream = streams[packet.stream_index]
            target.mux(packet)
            _say("published")


def play(url: str) -> None:
    with av.open(url, timeout=_TIMEOUT_S) as container:
        for packet in container.demux():
            if packet.size:
                _say(packet.stream.type, packet.dts, packet.pts, packet.size, hashlib.md5(bytes(packet)).hexdigest())


def look(url: str) -> None:
    with av.open(url, timeout=_TIMEOUT_S) as container:
        picture = next(container.decode(video=0))
        _say(picture.width, picture.height, picture.key_frame)


def _say(*values) -> None:
    sys.stdout.write(json.dumps(values) + "\n")
    sys.stdout.flush()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--debug", action="store_true", help="FFmpeg's own messages, all of them")
    parser.add_argument("action", choices=("publish", "play", "look"))
    parser.add_argument("arguments", nargs="+")
    options = parser.parse_args()
    if options.debug:
        av.logging.set_libav_level(av.logging.DEBUG)
        av.logging.restore_default_callback()
    {"publish": publish, "play": play, "look": look}[options.action](*options.arguments)


if __name__ == "__main__":
    main()
