"""FLV for tests: strategies that draw tags and whole streams."""

from __future__ import annotations

from collections.abc import Iterable

from hypothesis import strategies as st

from rtmpd.wire.flv import FlvTag, encode_file_header, encode_tag

tags = st.builds(FlvTag, st.sampled_from([8, 9, 15, 18]), st.integers(0, 2**32 - 1), st.binary(max_size=60))
file_headers = st.builds(encode_file_header, audio=st.booleans(), video=st.booleans()) | st.just(b"")


def spell(header: bytes, contents: Iterable[FlvTag]) -> bytes:
    """Write a stream: a file header, which may be empty, and tags."""
    return header + b"".join(encode_tag(*tag) for tag in contents)


streams = st.builds(spell, file_headers, st.lists(tags, max_size=5))
