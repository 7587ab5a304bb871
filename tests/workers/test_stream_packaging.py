"""The packaging of one stream: on demand, over the lives of its stream and of the packager, and out of reach when private."""

from __future__ import annotations

import pytest

from rtmpd.workers import packaging as packaging_module
from rtmpd.workers.packaging_output import DOUBT_S
from rtmpd.workers.stream_packaging import END_S, RETRY_S
from tests.helpers.live import AVC_HEADER, video_header
from tests.helpers.packagings import FRAME_MS, UNIX_S, Viewer, Waiting, rigs
from tests.helpers.played_packager import REFUSED, PlayedPackager

OTHER_HEADER = AVC_HEADER[:-1] + b"\xcf"


@pytest.fixture
async def new_rig(monkeypatch):
    monkeypatch.setattr(packaging_module, "Packager", PlayedPackager)
    async with rigs() as new_rig:
        yield new_rig


@pytest.fixture
async def rig(new_rig):
    return new_rig()


async def test_a_stream_that_is_wanted_is_fed_from_its_oldest_key_frame_on(rig):
    publication = rig.publish()
    publication.stream.flv_log()  # as a recording would have it
    sent = rig.send(publication, "k.k..")
    packaging = rig.packagings.want(publication.stream)
    await rig.settle()

    assert packaging.window.events == ["begin", *sent]
    assert packaging.log is not None
    assert [line["stream"] for line in rig.said("packaging started")] == ["live/s"]


async def test_a_stream_that_nobody_publishes_is_fed_when_somebody_does(rig):
    stream = rig.registry.join("live", "s", Waiting())
    packaging = rig.packagings.want(stream)
    assert not packaging.is_running

    publication = rig.publish()
    sent = rig.send(publication, "k.")
    await rig.settle()

    assert rig.packagings.want(publication.stream) is packaging
    assert packaging.window.events == ["begin", *sent]


async def test_a_viewer_starts_at_the_newest_key_frame_once_the_backlog_is_worked_off(rig):
    publication = rig.publish()
    publication.stream.flv_log()
    rig.send(publication, "k" + "." * 99 + "k.k.")
    packaging, viewer = rig.watch(publication)
    feed = rig.feed
    while len(feed.receive().records) < 105:
        await rig.settle_feed()
    made, feed.records = feed.records, []
    feed.send(*made[:30])
    await rig.until(lambda: len(packaging.window.events) == 30)
    assert viewer.told == []

    feed.send(*made[30:])
    await rig.until(lambda: viewer.told)
    assert viewer.read() == made[0].data + made[-2].data + made[-1].data


async def test_a_backlog_that_nothing_follows_is_worked_off(rig):
    publication = rig.publish()
    rig.send(publication, "k" + "." * 99)
    packaging, viewer = rig.watch(publication)
    await rig.settle_feed()
    rig.feed.send(*rig.feed.receive().records[:30])
    await rig.until(lambda: len(packaging.window.events) == 30)
    assert viewer.told == []

    rig.pass_time(0.1)

    assert viewer.told == ["started"]


async def test_a_viewer_that_comes_later_starts_at_once(rig):
    publication = rig.publish()
    packaging = rig.packagings.want(publication.stream)
    rig.send(publication, "k.k.")
    await rig.settle()
    viewer = Viewer()
    packaging.attach(viewer)

    assert viewer.told == ["started"]
    assert len(viewer.read()) == len(AVC_HEADER) + 2 * 45


async def test_nobody_is_started_before_there_is_a_key_frame(rig):
    publication = rig.publish()
    _, viewer = rig.watch(publication)
    rig.send(publication, "...")
    await rig.settle()
    assert viewer.told == []

    rig.send(publication, "k")
    await rig.settle()
    assert viewer.told == ["started"]


async def test_parts_of_a_backlog_are_dated_when_they_were_sent(rig):
    publication = rig.publish()
    rig.send(publication, "k" + "." * 99)
    packaging = rig.packagings.want(publication.stream)
    await rig.settle()

    first, *_, last = packaging.window.dates
    assert first == pytest.approx(UNIX_S - 98 * FRAME_MS / 1000)
    assert last == UNIX_S


async def test_a_stream_that_nobody_asks_for_any_more_is_let_go_of(rig):
    publication = rig.publish()
    stream = publication.stream
    packaging = rig.packagings.want(stream)
    rig.send(publication, "k.")
    await rig.settle()
    rig.pass_time(20)
    packaging.use(rig.clock.time())
    rig.pass_time(29)
    assert packaging.is_running
    rig.pass_time(2)

    assert packaging.is_over
    assert rig.packagings.get("live", "s") is None
    assert rig.packagings.find(packaging.edition) is None
    assert stream.flv_log().cursors == []
    (line,) = rig.said("packaging ended")
    assert (line["stream"], line["reason"], line["seconds"]) == ("live/s", "nobody watches it any more", 50)


async def test_a_viewer_keeps_it_and_its_leaving_begins_the_idle_time(rig):
    publication = rig.publish()
    packaging, viewer = rig.watch(publication)
    rig.pass_time(100)
    assert packaging.is_running
    packaging.detach(viewer)
    rig.pass_time(29)
    assert packaging.is_running
    rig.pass_time(2)

    assert packaging.is_over
    assert viewer.told == []


async def test_who_reads_playlists_is_not_idle_between_two_of_them(new_rig):
    rig = new_rig(idle_s=0)
    packaging = rig.packagings.want(rig.publish().stream)
    packaging.window.target_duration_s = 10
    packaging.use(rig.clock.time())
    rig.pass_time(29)
    assert packaging.is_running
    rig.pass_time(2)

    assert packaging.is_over


async def test_another_publisher_goes_on_in_the_same_feed(rig):
    packaging = rig.packagings.want(rig.publish().stream)
    again = rig.publish()
    sent = rig.send(again, "k.")
    await rig.settle()

    assert len(rig.packager.feeds) == 1
    assert packaging.window.events == ["begin", *sent]


async def test_a_publisher_that_drops_and_comes_back_goes_on_in_the_same_feed(rig):
    publication = rig.publish()
    packaging, viewer = rig.watch(publication)
    before = rig.send(publication, "k.")
    rig.lose(publication)
    rig.pass_time(3)
    after = rig.send(rig.publish(), "k.")
    await rig.settle()

    assert len(rig.packager.feeds) == 1
    assert packaging.window.events == ["begin", *before, *after]
    assert viewer.told == ["started"]


async def test_at_the_streams_end_viewers_have_the_last_part_and_are_ended(rig):
    publication = rig.publish()
    packaging, viewer = rig.watch(publication)
    sent = rig.send(publication, "k.")
    await rig.settle()
    sent += rig.send(publication, "..")
    rig.end(publication)
    await rig.settle()

    assert viewer.told == ["started", "the stream has ended"]
    assert len(viewer.read()) == len(AVC_HEADER) + 4 * 45
    assert packaging.window.events == ["begin", *sent, "break"]
    assert packaging.log is None
    assert not packaging.is_running


async def test_what_is_not_kept_at_all_is_sent_to_its_end_all_the_same(new_rig):
    rig = new_rig(kept_s=0)
    publication = rig.publish()
    packaging = rig.packagings.want(publication.stream)
    viewer = Viewer()
    packaging.attach(viewer)
    sent = rig.send(publication, "k.")
    await rig.settle()
    sent += rig.send(publication, "..")
    rig.end(publication)
    rig.pass_time(1)
    await rig.settle()

    assert viewer.told == ["started", "the stream has ended"]
    assert packaging.window.events == ["begin", *sent, "break"]
    assert packaging.is_over


async def test_a_stream_that_comes_back_in_time_goes_on_in_the_same_edition(rig):
    publication = rig.publish()
    packaging = rig.packagings.want(publication.stream)
    before = rig.send(publication, "k.")
    await rig.settle()
    rig.end(publication)
    await rig.settle()
    rig.pass_time(59)
    assert rig.packagings.find(packaging.edition) is packaging

    again = rig.publish()
    after = rig.send(again, "k.")
    assert rig.packagings.want(again.stream) is packaging
    await rig.settle()
    rig.pass_time(20)

    assert packaging.window.events == ["begin", *before, "break", "begin", *after]
    assert packaging.is_running


async def test_a_stream_that_comes_back_too_late_has_another_edition(rig):
    publication = rig.publish()
    packaging = rig.packagings.want(publication.stream)
    rig.send(publication, "k.")
    await rig.settle()
    rig.end(publication)
    await rig.settle()
    packaging.use(rig.clock.time() + 1000)
    rig.pass_time(61)
    assert rig.packagings.find(packaging.edition) is None

    another = rig.packagings.want(rig.publish().stream)

    assert another.edition != packaging.edition
    assert another.window.first_number == packaging.window.first_number + 61


async def test_a_stream_that_comes_back_while_its_end_is_packaged_waits_for_that(rig):
    publication = rig.publish()
    packaging = rig.packagings.want(publication.stream)
    leaving, coming = Viewer(), Viewer()
    packaging.attach(leaving)
    before = rig.send(publication, "k.")
    await rig.settle()
    before += rig.send(publication, ".")
    rig.end(publication)
    after = rig.send(rig.publish(), "k.")
    packaging.attach(coming)
    assert len(rig.packager.feeds) == 1
    await rig.settle()

    assert packaging.window.events == ["begin", *before, "break", "begin", *after]
    assert leaving.told == ["started", "the stream has ended"]
    assert coming.told == ["started"]
    assert len(coming.read()) == len(AVC_HEADER) + 2 * 45


async def test_a_packager_that_does_not_end_a_feed_is_not_waited_for(rig):
    publication = rig.publish()
    packaging = rig.packagings.want(publication.stream)
    rig.send(publication, "k.")
    await rig.settle()
    rig.end(publication)
    rig.pass_time(END_S)
    assert packaging.is_running
    rig.pass_time(1)

    assert not packaging.is_running
    assert packaging.window.events[-1] == "break"


async def test_what_was_made_private_is_out_of_reach_at_once(rig):
    publication = rig.publish()
    packaging, viewer = rig.watch(publication)
    rig.send(publication, "k.")
    await rig.settle()
    publication.stream.hide("private")

    assert rig.packagings.find(packaging.edition) is None
    assert rig.packagings.get("live", "s") is None
    assert viewer.told == ["started", "the stream is private"]
    another = rig.packagings.want(publication.stream)
    assert another.edition != packaging.edition
    assert not another.is_running


async def test_nobody_is_let_in_by_who_found_it_before_it_became_private(rig):
    publication = rig.publish()
    packaging = rig.packagings.want(publication.stream)
    rig.send(publication, "k.")
    await rig.settle()
    publication.stream.hide("private")
    viewer = Viewer()
    packaging.attach(viewer)

    assert viewer.told == ["it is not packaged any more"]


async def test_a_viewer_may_come_back_while_it_is_told_of_the_end(rig):
    publication = rig.publish()
    rig.send(publication, "k.")

    class Returning(Viewer):
        def fragments_ended(self, reason):
            super().fragments_ended(reason)
            if publication.current:
                rig.packagings.want(publication.stream).attach(self)

    viewer = Returning()
    packaging = rig.packagings.want(publication.stream)
    packaging.attach(viewer)
    await rig.settle()
    rig.packager.die()
    await rig.settle()
    assert viewer.told == ["started", "the packager has failed", "started"]
    publication.stream.hide("private")
    assert rig.packagings.find(packaging.edition) is None
    another = rig.packagings.get("live", "s")
    publication.stream.reveal()
    rig.pass_time(1)
    await rig.settle()

    assert packaging.is_over
    assert viewer.told[3:] == ["the stream is private", "started"]
    assert rig.packagings.want(publication.stream) is another is not packaging
    assert len(rig.packagings) == 1


async def test_parts_of_a_private_stream_reach_nobody_though_nobody_asks_meanwhile(rig):
    publication = rig.publish()
    packaging = rig.packagings.want(publication.stream)
    sent = rig.send(publication, "k.")
    await rig.settle()
    publication.stream.hide("private")
    rig.send(publication, "..")
    await rig.settle()
    publication.stream.reveal()

    assert rig.packagings.find(packaging.edition) is None
    assert packaging.window.events == ["begin", *sent, "break"]


async def test_a_kept_window_is_dropped_when_the_stream_comes_back_private(rig):
    publication = rig.publish()
    packaging = rig.packagings.want(publication.stream)
    rig.send(publication, "k.")
    await rig.settle()
    rig.end(publication)
    await rig.settle()
    rig.publish(is_public=False)

    assert rig.packagings.find(packaging.edition) is None


async def test_what_was_private_at_its_end_is_not_kept(rig):
    publication = rig.publish()
    packaging = rig.packagings.want(publication.stream)
    rig.send(publication, "k.")
    await rig.settle()
    publication.stream.hide("private")
    rig.end(publication)

    assert packaging.is_over


async def test_a_stream_that_becomes_public_is_fed_to_who_waits(rig):
    publication = rig.publish(is_public=False)
    _, viewer = rig.watch(publication)
    rig.pass_time(3)
    assert rig.packager.feeds == []
    publication.stream.reveal()
    rig.pass_time(1)
    rig.send(publication, "k.")
    await rig.settle()

    assert viewer.told == ["started"]


async def test_after_the_packagers_death_the_next_one_goes_on_at_the_newest_key_frame(rig):
    publication = rig.publish()
    publication.stream.flv_log()
    packaging, viewer = rig.watch(publication)
    before = rig.send(publication, "k.k.")
    await rig.settle()
    edition = packaging.edition
    rig.packager.die()
    assert viewer.told == ["started", "the packager has failed"]
    after = rig.send(publication, ".k")
    await rig.settle()

    assert packaging.window.events == ["begin", *before, "break", "begin", *before[2:], *after]
    assert rig.packagings.find(edition) is packaging
    assert rig.packagings.deaths == 1


async def test_a_death_that_the_feed_sees_first_is_told_once(rig):
    publication = rig.publish()
    packaging = rig.packagings.want(publication.stream)
    rig.send(publication, "k.")
    await rig.settle()
    rig.feed.close()
    await rig.until(lambda: not packaging.is_running)
    rig.packager.die()
    await rig.settle()

    assert [event for event in packaging.window.events if isinstance(event, str)] == ["begin", "break", "begin"]
    assert len(rig.said("packaging ended")) == 1


async def test_a_feed_that_the_packager_gives_up_is_tried_again_later(rig):
    publication = rig.publish()
    packaging, viewer = rig.watch(publication)
    rig.send(publication, "k.")
    await rig.settle()
    rig.feed.close()
    await rig.until(lambda: not packaging.is_running)
    rig.pass_time(RETRY_S - 1)
    assert not packaging.is_running
    rig.pass_time(1)
    await rig.settle()

    assert packaging.is_running
    assert viewer.told == ["started", "the packager has failed"]


async def test_a_feed_that_cannot_be_opened_is_tried_again_later(rig):
    publication = rig.publish()
    rig.packagings.want(publication.stream)
    rig.packager.feeds.pop().close()
    await rig.until(lambda: rig.said("packaging ended"))
    rig.packager.fault = OSError(24, "Too many open files")
    rig.pass_time(2 * RETRY_S)
    rig.packager.fault = None
    assert rig.packager.feeds == []
    assert rig.said("packaging failed")[0]["reason"] == "[Errno 24] Too many open files"
    rig.pass_time(RETRY_S)

    assert len(rig.packager.feeds) == 1


async def test_a_stream_that_cannot_be_packaged_is_refused_until_that_changes(rig):
    publication = rig.publish()
    packaging = rig.packagings.want(publication.stream)
    player, late, last = Viewer(), Viewer(), Viewer()
    packaging.attach(player)
    rig.send(publication, "k.")
    await rig.settle()
    rig.append(publication, video_header(AVC_HEADER + REFUSED))
    await rig.settle()
    rig.pass_time(DOUBT_S)
    packaging.attach(late)
    assert packaging.refusal == "no such codec"
    assert player.told == ["started", "no such codec"]
    assert late.told == ["no such codec"]
    assert packaging.log is None
    rig.append(publication, video_header(AVC_HEADER))
    rig.send(publication, "k")
    await rig.settle()
    packaging.attach(last)

    assert packaging.refusal is None
    assert last.told == ["started"]
    assert [line["reason"] for line in rig.said("not packaged")] == ["no such codec"]


async def test_who_waits_for_a_stream_that_is_refused_is_told(rig):
    publication = rig.publish()
    rig.append(publication, video_header(AVC_HEADER + REFUSED))
    viewer = Viewer()
    rig.packagings.want(publication.stream).attach(viewer)
    await rig.settle()
    rig.pass_time(DOUBT_S)

    assert viewer.told == ["no such codec"]


async def test_players_of_another_codec_configuration_play_another_log(rig):
    publication = rig.publish()
    packaging = rig.packagings.want(publication.stream)
    before, after = Viewer(), Viewer()
    packaging.attach(before)
    rig.send(publication, "k.")
    await rig.settle()
    log = packaging.log
    rig.append(publication, video_header(OTHER_HEADER))
    rig.send(publication, "k.")
    await rig.settle()
    packaging.attach(after)

    assert before.told == ["started", "the codec configuration changed"]
    assert packaging.log is not log
    assert after.read().startswith(OTHER_HEADER)
    assert before.read().count(AVC_HEADER) == 1


async def test_a_packager_that_does_not_read_costs_nobody_anything_else(new_rig):
    rig = new_rig(retention={"seconds": 3600.0, "bytes_": 4 << 20})
    publication = rig.publish()
    stream = publication.stream
    packaging = rig.packagings.want(stream)
    player = Viewer()
    player.join(stream.log)
    received = 0
    for _ in range(40):
        rig.send(publication, "k" + "." * 9, size=100_000)
        received += len(player.read())
        rig.services.fanout.cut_off_stalled(rig.clock.time() + 1e9)
        await rig.settle_feed()

    assert received > 400 * 100_000
    flv = stream.flv_log()
    assert flv.end - flv.start <= (4 << 20) + 11 * 100_100
    assert packaging.is_running
    await rig.settle()
    sent = rig.send(publication, "k")
    await rig.settle()
    assert packaging.window.events[-1:] == sent


async def test_a_packager_that_sends_nonsense_loses_that_feed_alone(rig):
    publication = rig.publish()
    packaging = rig.packagings.want(publication.stream)
    rig.feed.connection.send(b"\xff" * 100)
    await rig.until(lambda: not packaging.is_running)

    assert len(rig.said("internal error")) == 1
    rig.lines.clear()


async def test_a_viewer_of_what_is_over_is_told_at_once(rig):
    packaging = rig.packagings.want(rig.publish().stream)
    rig.pass_time(40)
    viewer = Viewer()
    packaging.attach(viewer)

    assert viewer.told == ["it is not packaged any more"]


async def test_who_wants_a_stream_while_it_is_being_ended_does_not_keep_its_old_life(rig):
    publication = rig.publish()
    stream = publication.stream

    class Wanting:
        def stream_started(self, stream):
            pass

        def stream_ended(self, stream, reason):
            self.packaging = rig.packagings.want(stream)

    wanting = Wanting()
    rig.registry.join("live", "s", wanting)
    rig.end(publication)
    rig.packagings.tick()
    sent = rig.send(rig.publish(), "k.")
    packaging = rig.packagings.want(rig.registry.find("live", "s"))
    await rig.settle()

    assert packaging.window.events[-2:] == sent
    assert stream.log.cursors == []
