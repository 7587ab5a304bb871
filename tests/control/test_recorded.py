"""Which file a path means, and which names mean none."""

from __future__ import annotations

import pytest

from muxers.formats import FORMATS
from muxers.hls_folder import PART, SEGMENT_SUFFIXES, init_name, segment_name
from rtmpd.control.recorded import CONTENT_TYPES, RecordedFiles
from rtmpd.control.rooms import Named
from rtmpd.errors import NotPossible
from rtmpd.store.database import Database
from rtmpd.store.recordings import RecordingIndex
from tests.helpers.store import closed_file, file_row, recording_row


@pytest.fixture
async def index(tmp_path):
    database = await Database.open(tmp_path / "rtmpd.db")
    index = RecordingIndex(database)
    await index.begin(recording_row("r", app="a/b", stream="s"), [])
    await closed_file(index, "f", "r")
    await index.reserve(file_row("growing", "r"))
    await index.opened("growing", "live/demo/growing.flv", 1.0)
    await index.reserve(file_row("reserved", "r"))
    await closed_file(index, "removing", "r")
    await index.condemn(["removing"])
    await index.reserve(file_row("hls", "r", path="live/demo/list.m3u8", file_format="hls"))
    await index.opened("hls", "live/demo/list.m3u8", 1.0)
    await index.reserve(file_row("odd", "r", path="live/12345.ts", file_format="ts", state="open"))
    yield index
    await database.close()


@pytest.fixture
def files(index):
    return RecordedFiles(index)


async def refusal(question):
    with pytest.raises(NotPossible) as caught:
        await question
    return caught.value.kind


async def test_a_file_is_found_by_its_path_and_by_its_id(files):
    file = await files.find_path("live/demo/f.flv")

    assert file == ("f", Named("a/b", "s"), "flv", "live/demo/f.flv", True)
    assert await files.find("f") == file
    assert not (await files.find_path("live/demo/growing.flv")).is_final


@pytest.mark.parametrize("file_id", ["reserved", "removing", "none", "", "live/demo/f.flv"])
async def test_what_is_not_there_yet_or_no_more_is_not_found(files, file_id):
    assert await refusal(files.find(file_id)) == "unknown"
    assert await refusal(files.find_path(f"live/demo/{file_id}.flv")) == "unknown"


@pytest.mark.parametrize(
    "name", [init_name(1), init_name(1000), *(segment_name(each, ".m4s") for each in (0, 7, 123_456))]
)
async def test_the_parts_of_an_hls_recording_belong_to_its_playlist(files, name):
    part = await files.find_path(f"live/demo/list/{name}")

    assert (part.file_id, part.file_format, part.path) == ("hls", "hls", f"live/demo/list/{name}")
    assert (part.is_final, part.is_playlist) == (True, False)
    playlist = await files.find_path("live/demo/list.m3u8")
    assert (playlist.is_final, playlist.is_playlist) == (False, True)


@pytest.mark.parametrize(
    "name",
    [
        "00001.m4s" + PART,
        "playlist.part",
        "notes.txt",
        "1.m4s",
        "..",
        "",
        "../f.flv",
        "00001.m4s/x",
        "x00001.m4s",
        "00001.mp4",
    ],
)
async def test_other_names_in_its_folder_are_nothing(files, name):
    assert await refusal(files.find_path(f"live/demo/list/{name}")) == "unknown"


async def test_a_file_that_is_called_like_a_segment_is_found_all_the_same(files):
    assert (await files.find_path("live/12345.ts")).file_id == "odd"
    assert await refusal(files.find_path("live/demo/f/00001.m4s")) == "unknown"


def test_every_format_has_its_content_type():
    suffixes = {f".{each.suffix}" for each in FORMATS.values()} | set(SEGMENT_SUFFIXES)
    assert suffixes == CONTENT_TYPES.keys()
