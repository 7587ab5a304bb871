"""hls.js from npm: what most pages play HLS with, as a second implementation of its playlists."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

from tests.helpers import npm
from tests.helpers.processes import PATIENCE_S

PACKAGE = "hls.js@1.6.13"
_PARSE = """
globalThis.self = globalThis;
const { M3U8Parser } = await import(process.argv[1]);
const texts = JSON.parse(await new Response(process.stdin).text());
const show = ({ relurl, sn, cc, duration, start, programDateTime, initSegment }) =>
    ({ uri: relurl, number: sn, discontinuities: cc, duration, start, date: programDateTime,
       init: initSegment ? initSegment.relurl : null });
console.log(JSON.stringify(texts.map((text) => {
    const level = M3U8Parser.parseLevelPlaylist(text, 'http://a.example/live/cam.m3u8', 0, 'main', 0, null);
    return {
        error: level.playlistParsingError ? level.playlistParsingError.message : null,
        live: level.live, target: level.targetduration, partTarget: level.partTarget,
        blocks: level.canBlockReload, partHoldBack: level.partHoldBack, holdBack: level.holdBack,
        first: level.startSN, last: level.endSN, lastPart: level.lastPartSn, lastPartIndex: level.lastPartIndex,
        discontinuities: level.startCC,
        segments: level.fragments.map(show),
        parts: (level.partList || []).map((part) =>
            ({ uri: part.relurl, number: part.fragment.sn, index: part.index, duration: part.duration,
               independent: part.independent, discontinuities: part.fragment.cc })),
        next: level.fragmentHint ? [level.fragmentHint.sn, level.fragmentHint.cc] : null,
        hint: level.preloadHint ? level.preloadHint.URI : null,
    };
})));
"""


def install(directory: Path) -> Path:
    """
    Install it by npm, or skip the test.

    Args:
        directory: is there; gets node_modules.

    Returns:
        Its folder of bundles: hls.js for pages, hls.mjs.
    """
    return npm.install(directory, PACKAGE) / "dist"


def parse(bundles: Path, texts: list[str]) -> list[dict]:
    """Read media playlists, as it reads them."""
    command = ["node", "--input-type=module", "-e", _PARSE, (bundles / "hls.mjs").as_uri()]
    answer = subprocess.run(
        command, input=json.dumps(texts), capture_output=True, text=True, timeout=PATIENCE_S, check=True
    )
    return json.loads(answer.stdout)
