"""
The configuration: frozen tables of everything that an operator can set.

Each field carries a unit, a range and a description; the faults that a user reads and the reference that `rtmpd config`
prints are made from them, so that neither can drift from what is accepted. `rtmpd.config_file` reads and checks it.

A leaf: every folder may read its own section, none is imported here.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from rtmpd.config_limits import LimitsConfig
from rtmpd.config_listening import (
    Certificate,
    ControlConfig,
    HttpConfig,
    HttpsConfig,
    RtmpConfig,
    RtmpsConfig,
    UrlsConfig,
)
from rtmpd.config_types import (
    ApplicationName,
    Bytes,
    BytesOrOff,
    CountOrOff,
    DirectoryPath,
    HttpUrl,
    HttpUrls,
    Keys,
    Milliseconds,
    Mode,
    Networks,
    OriginUrls,
    RecordFormats,
    RtmpUrls,
    Seconds,
    Secret,
    Section,
    Share,
    SourceUrls,
    StreamPath,
    Switch,
    Template,
)
from rtmpd.config_words import Unit

__all__ = ["Certificate", "ControlConfig", "HttpConfig", "HttpsConfig", "RtmpConfig", "RtmpsConfig", "UrlsConfig"]
"""Beside what is defined here: tables that have a module of their own."""

STATIC_TARGETS = 16
"""Relay targets that an application has for each of its streams."""
_KIB = 1024
_MIB = 1024 * 1024


class DataConfig(Section):
    """What is kept on disk."""

    directory: DirectoryPath = Field(
        default=Path("./data"),
        description="Holds recordings/ and their index, rtmpd.db; made when missing, locked by the one server that uses it.",
    )


class RoomsConfig(Section):
    """Streams that are named by room, user and kind: their name is BIZID_MD5(room_user_kind)."""

    bizid: Annotated[str, Unit("text", "1 to 32 letters and digits")] = Field(
        default="8888", pattern=r"^[0-9A-Za-z]{1,32}$", description="What their names begin with."
    )
    app: Annotated[ApplicationName, Unit("text", "an application's name")] = Field(
        default="live", description="Their application."
    )


class CallbacksConfig(Section):
    """What happens to streams and recordings is told to these receivers: until they answer 200, over crashes too."""

    urls: HttpUrls = Field(default=(), repr=False, description="Each gets every callback, by POST.")
    key: Secret | None = Field(
        default=None,
        repr=False,
        description="Callbacks are signed with it: sign = MD5(key + t), and X-Rtmpd-Signature over the whole body.",
        examples=["a-long-secret"],
    )
    timeout_s: Seconds = Field(default=20, gt=0, description="For an answer.")
    longest_pause_s: Seconds = Field(default=60, gt=0, description="Pauses between tries grow up to it.")
    give_up_s: Seconds = Field(
        default=24 * 3600, gt=0, description="A callback that is older is tried no more; it goes to the dead letters."
    )
    dead_kept_s: Seconds = Field(default=7 * 24 * 3600, gt=0, description="Dead letters can be read and sent again.")
    parallel: Annotated[int, Field(ge=2), Unit("count", "a whole number")] = Field(
        default=16,
        description="Callbacks on their way at once, to each receiver; with one only, a stream whose callbacks fail would "
        "hold up all others.",
    )


class LogConfig(Section):
    """
    The log of each live stream in memory: what late joiners start from and slow players catch up in.

    (Log lines are another thing: see `rtmpd serve --log-level`.)
    """

    gop_s: Seconds = Field(default=10, gt=0, description="Kept since the last key frame, at most.")
    gop_bytes: Bytes = Field(default=16 * _MIB, description="Kept since the last key frame, at most; per stream.")
    recorder_keep_s: Seconds = Field(default=10, ge=0, description="Kept at least while the stream is recorded.")


class FanoutConfig(Section):
    """How latency is traded for processor time when many players watch."""

    share: Share = Field(default=0.25, description="Processor time that sending may take before passes are spaced out.")
    max_delay_ms: Milliseconds = Field(default=100, ge=0, le=10_000, description="Longest pause between two passes.")
    slice_ms: Milliseconds = Field(default=5, gt=0, le=1000, description="A pass lets other work run this often.")


class PlayersConfig(Section):
    """What happens to those who watch."""

    lag: Annotated[Literal["jump", "disconnect"], Unit("choice", "a choice")] = Field(
        default="jump",
        description="A player that falls out of the log: goes on at the newest key frame, or is disconnected.",
    )
    lag_limit_s: Seconds = Field(
        default=30, gt=0, description="A player that took nothing for so long is disconnected."
    )
    wait_s: Seconds = Field(
        default=30, ge=0, description="Wait for a publisher, then StreamNotFound; 0: refused at once."
    )


class RecordingsConfig(Section):
    """
    Which closed recordings are deleted: the oldest first, never one that is being written.

    Each rule is off at 0. With `max_bytes` or `min_free_bytes` a full disk is prevented, not only survived.
    """

    max_age_s: Seconds = Field(default=0, ge=0, description="Those that ended longer ago.")
    max_bytes: BytesOrOff = Field(default=0, description="While all of them together are larger.")
    min_free_bytes: BytesOrOff = Field(default=0, description="While their disk has less room than this.")


class WorkersConfig(Section):
    """The media workers: processes that write recordings, so that no disk and no muxer can touch a live stream."""

    count: Annotated[int, Unit("count", "a whole number")] = Field(
        default=1, ge=1, le=64, description="Processes that recordings are spread over."
    )
    memory_bytes: Bytes = Field(
        default=1024 * _MIB,
        description="Of each: for its recordings (an open MP4 needs 16 MB an hour, as do M4A), and as much again for what "
        "slow disks have not taken; a recording that would exceed it is not started.",
    )
    queue_bytes: Bytes = Field(default=64 * _MIB, description="Kept of one recording while its disk is slow.")


class PackagingConfig(Section):
    """
    Live fragmented MP4: what browsers are shown, as HLS (low-latency, too) and as MP4 over HTTP.

    Made once for each stream, by a process of its own, while somebody watches it or apps.NAME.packaging asks for it. What
    a packaged stream may take of the server's memory, beside log.gop_bytes, is in the log's first line: "serving".
    """

    segment_s: Seconds = Field(
        default=2, ge=1, le=60, description="Length of HLS segments; each begins at the first key frame after it."
    )
    part_ms: Milliseconds = Field(
        default=200, ge=50, le=2000, description="Length of parts: what low-latency HLS and MP4 are sent at a time."
    )
    playlist_segments: Annotated[int, Field(ge=3, le=100), Unit("count", "a whole number")] = Field(
        default=6, description="Whole segments in a playlist."
    )
    window_bytes: Bytes = Field(
        default=64 * _MIB, description="Segments kept of one stream; older ones go, though the playlist gets shorter."
    )
    idle_s: Seconds = Field(default=30, ge=0, description="It goes on for so long after the last who watched.")
    kept_s: Seconds = Field(
        default=60,
        ge=0,
        description="A playlist is answered for so long after its stream, which may come back, has ended.",
    )


class AppConfig(Section):
    """One application: the first part of a stream's path. Others than those configured are refused."""

    push: Mode = Field(
        default="auto",
        description="auto: a published stream can be watched at once; manual: it is private until a push is started.",
    )
    push_kept_s: Seconds = Field(
        default=3600, ge=0, description="A push that was started is on again if its publisher is back after so long."
    )
    push_targets: RtmpUrls = Field(
        default=(),
        max_length=STATIC_TARGETS,
        repr=False,
        description="Where each stream is relayed to while it can be watched: rtmp[s]://[USER:PASSWORD@]HOST/APP/STREAM. {app} "
        "and {stream} stand for its own names; a URL without {stream} is right for one stream only.",
    )
    record: Mode = Field(
        default="manual", description="auto: every published stream is recorded; manual: those that are asked for."
    )
    record_formats: RecordFormats = Field(
        default=("flv",),
        min_length=1,
        description="What a recording is written as; m4a and mp3 take the sound alone (mp3: if that is what is sent).",
    )
    record_path: Template = Field(
        default="{app}/{stream}/{date}-{time}-{id}-{sequence}.{format}",
        description="Below recordings/; names in the fields are made safe for the file system. Date and time are those of "
        "the recording's start (UTC), sequence is the number of the file in it.",
    )
    record_cut_s: Seconds = Field(
        default=1800, ge=0, description="The next file begins at the first key frame after so much media; 0: never."
    )
    record_cut_bytes: BytesOrOff = Field(default=0, description="The same by size; 0: never.")
    record_faststart: Switch = Field(
        default=False,
        description="Rewrite each closed MP4 with its index in front, for players that cannot seek in what they download.",
    )
    packaging: Annotated[Literal["demand", "always"], Unit("choice", "a choice")] = Field(
        default="demand",
        description="Fragmented MP4 for browsers is made: demand: while somebody watches it; always: so that the first who "
        "comes waits for nothing.",
    )
    hls_segment_s: Seconds = Field(
        default=2, gt=0, description="Length of HLS segments each begins at the first key frame after it."
    )
    hls_segment_type: Annotated[Literal["fmp4", "ts"], Unit("choice", "a choice")] = Field(
        default="fmp4", description="What HLS segments are; ts: for old players, H.264, HEVC, AAC, MP3 and AC-3 only."
    )
    resume_s: Seconds = Field(
        default=60,
        ge=0,
        description="After a stream's end its recording waits for so long and goes on in the same files if it comes back.",
    )
    grace_s: Seconds = Field(default=10, ge=0, description="Players stay for so long when a publisher drops.")
    takeover: Annotated[Literal["same", "always", "never"], Unit("choice", "a choice")] = Field(
        default="same",
        description="A second publisher of a name takes over: same: with the key of the first, or from its address where "
        "no key is needed; always; never.",
    )
    publish_key: Keys = Field(
        default=(),
        repr=False,
        description="Who publishes must give one of these as ?key=, with %, &, + and # as %25, %26, %2B and %23; empty: anyone "
        "may publish.",
    )
    play_key: Keys = Field(default=(), repr=False, description="The same for who plays.")
    publish_secret: Keys = Field(
        default=(),
        repr=False,
        description="Who publishes must have a URL signed with one of these (a primary and a backup, so that they can be "
        "rolled): ?txSecret=MD5(secret + stream + txTime)&txTime=EXPIRY, unix seconds in hex. Beside publish_key either will do.",
    )
    play_secret: Keys = Field(default=(), repr=False, description="The same for who plays.")
    publish_allow: Networks = Field(default=(), description="Who may publish; empty: every address.")
    publish_deny: Networks = Field(default=(), description="Who may not, whatever publish_allow says.")
    play_allow: Networks = Field(default=(), description="Who may play; empty: every address.")
    play_deny: Networks = Field(default=(), description="Who may not, whatever play_allow says.")
    origin: OriginUrls = Field(
        default=(),
        repr=False,
        description="Makes the application an edge: nobody publishes to it, and each stream is pulled once from origin/STREAM "
        "(with the query of origin, not with that of a player) while it is played or recorded. Several: when one fails, the next.",
    )
    on_publish: HttpUrl | None = Field(
        default=None,
        repr=False,
        description="Is asked before somebody publishes (POST, JSON): may refuse, rename the stream, and set its push, record "
        "and targets.",
        examples=["http://127.0.0.1:9000/on_publish"],
    )
    on_play: HttpUrl | None = Field(
        default=None,
        repr=False,
        description="Is asked before somebody plays.",
        examples=["http://127.0.0.1:9000/on_play"],
    )
    hook_timeout_s: Seconds = Field(default=3, gt=0, description="For the answer of on_publish or on_play.")
    hook_failure: Annotated[Literal["refuse", "admit"], Unit("choice", "a choice")] = Field(
        default="refuse", description="Without an answer that can be understood."
    )
    max_streams: CountOrOff = Field(default=0, description="Streams at once; 0: no limit.")
    max_players: CountOrOff = Field(default=0, description="Players at once; 0: no limit.")
    max_bits_per_s: Annotated[int, Field(ge=0), Unit("bits per second", "a whole number of bits per second")] = Field(
        default=0, description="A publisher that sends more over ten seconds is disconnected; 0: no limit."
    )


class PullConfig(Section):
    """One stream that is brought from elsewhere; all of it is taken up by a reload."""

    sources: SourceUrls = Field(
        repr=False,
        min_length=1,
        description="RTMP, RTMPS, or FLV over HTTP or HTTPS. Several: when one refuses, ends or is silent for "
        "limits.publisher_idle_s, the next at once, and after all of them again with growing pauses.",
        examples=[["rtmp://origin.example.com/live/news", "https://backup.example.com/live/news.flv"]],
    )
    on_demand: Switch = Field(
        default=False,
        description="Only while it is played or recorded: the first player opens it within players.wait_s.",
    )
    idle_s: Seconds = Field(default=10, ge=0, description="On demand: it is closed so long after the last of them.")


class Config(Section):
    """Everything that an operator can set."""

    open: Switch = Field(
        default=False, description="Allow anyone who reaches an address other than loopback to publish without a key."
    )
    rtmp: RtmpConfig = RtmpConfig()
    rtmps: RtmpsConfig = RtmpsConfig()
    http: HttpConfig = HttpConfig()
    https: HttpsConfig = HttpsConfig()
    control: ControlConfig = ControlConfig()
    urls: UrlsConfig = UrlsConfig()
    rooms: RoomsConfig = RoomsConfig()
    data: DataConfig = DataConfig()
    limits: LimitsConfig = LimitsConfig()
    log: LogConfig = LogConfig()
    fanout: FanoutConfig = FanoutConfig()
    players: PlayersConfig = PlayersConfig()
    recordings: RecordingsConfig = RecordingsConfig()
    workers: WorkersConfig = WorkersConfig()
    packaging: PackagingConfig = PackagingConfig()
    callbacks: CallbacksConfig = CallbacksConfig()
    apps: dict[ApplicationName, AppConfig] = Field(
        default_factory=lambda: {"live": AppConfig()},
        description="One table per application, [apps.NAME]; without any there is live. A name with other characters than "
        "letters, digits, - and _ is quoted.",
    )
    pulls: dict[StreamPath, PullConfig] = Field(
        default_factory=dict,
        description='One table per stream, [pulls."APPLICATION/STREAM"].',
        examples=["live/news"],
    )

    @property
    def https_certificate(self) -> Certificate | None:
        """What HTTPS shows of itself: by default what RTMPS does."""
        return self.https.certificate or self.rtmps.certificate
