"""Byte streams of FFmpeg's muxers, made from real footage, for what takes them apart."""

from __future__ import annotations

import functools

from muxers._pyav import Output
from muxers.samples import SampleReader
from rtmpd.media.tags import classify
from tests.helpers.footage import footage, tags_of


def samples_of(tags, offset_ms=0):
    """All samples of a feed."""
    reader = SampleReader()
    media = [tag for tag in tags if tag.type_id in (8, 9)]
    return [
        sample
        for tag in media
        for sample in reader.read(tag.type_id, tag.body, tag.timestamp_ms + offset_ms, classify(tag.type_id, tag.body))
    ]


def first_payloads(samples):
    """The tracks of an output, video first."""
    tracks = {}
    for sample in sorted(samples, key=lambda sample: -sample.track.type_id):
        tracks.setdefault(sample.track, sample.payload)
    return tracks


@functools.cache
def container(name, options, video="libx264", audio="aac", offset_ms=0):
    """The bytes of three seconds, in the options of an HLS run (pairs, as a cache wants them)."""
    samples = samples_of(tags_of(footage(video, audio)), offset_ms)
    written = []
    output = Output(
        lambda _offset, data: written.append(bytes(data)), name, dict(options), first_payloads(samples), seekable=False
    )
    for sample in samples:
        output.mux(sample)
    output.close()
    return b"".join(written)
