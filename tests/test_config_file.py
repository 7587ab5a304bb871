from __future__ import annotations

import tomllib

import pytest

from rtmpd.address import Address
from rtmpd.config import AppConfig, Config
from rtmpd.config_file import load, reference, validate
from rtmpd.errors import ConfigError
from tests.helpers.configuration import FIELDS, FORMAT_LIST, faults


def test_nothing_configured_is_a_whole_configuration_that_listens_on_loopback_only():
    config = load()

    assert Config() == config
    assert Address("127.0.0.1", 1935) == config.rtmp.listen
    assert config.rtmps.listen is None
    assert {"live": AppConfig()} == config.apps


def test_a_file_changes_the_keys_that_it_names_and_no_others(tmp_path):
    path = tmp_path / "rtmpd.toml"
    path.write_text('[apps."studio/a"]\nrecord = "auto"\ngrace_s = 2.5\n[rtmp]\nlisten = "[::1]:0"\n')

    config = load(path)

    assert {"studio/a": AppConfig(record="auto", grace_s=2.5)} == config.apps
    assert Address("::1", 0) == config.rtmp.listen
    assert Config().limits == config.limits


def test_overrides_lie_over_the_file_key_by_key(tmp_path):
    path = tmp_path / "rtmpd.toml"
    path.write_text('[data]\ndirectory = "a"\n[players]\nwait_s = 1\n')

    config = load(path, {"data": {"directory": "b"}, "rtmp": {"listen": "127.0.0.1:1"}})

    assert (str(config.data.directory), config.players.wait_s, config.rtmp.listen.port) == ("b", 1, 1)


def test_an_override_is_checked_like_the_file():
    with pytest.raises(ConfigError, match=r'^rtmp\.listen: "nowhere": an address like "127'):
        load(None, {"rtmp": {"listen": "nowhere"}})


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ('[apps.live]\ngrace_s = "ten"', 'apps.live.grace_s: "ten": a number of seconds >= 0 is expected'),
        ("[apps.live]\ngrace_s = -1", "apps.live.grace_s: -1: a number of seconds >= 0 is expected"),
        ("[players]\nlag_limit_s = nan", "players.lag_limit_s: NaN: a number of seconds > 0 is expected"),
        ('[players]\nlag = "jmp"', 'players.lag: "jmp": "jump" or "disconnect" is expected'),
        ('[apps.live]\nrecord = "on"', 'apps.live.record: "on": "auto" or "manual" is expected'),
        ("[limits]\namf_depth = true", "limits.amf_depth: true: a whole number >= 1 is expected"),
        ("[limits]\nmessage_bytes = 1.5", "limits.message_bytes: 1.5: a whole number of bytes >= 1 is expected"),
        ("[fanout]\nshare = 2", "fanout.share: 2: a fraction > 0 and <= 1 is expected"),
        ("open = 1", "open: 1: true or false is expected"),
        ("rtmp = 5", "rtmp: 5: a table is expected"),
        ("apps = []", "apps: []: a table is expected"),
        ("[apps]\nlive = 3", "apps.live: 3: a table is expected"),
        ("[apps.live]\nrecord_formats = []", f"apps.live.record_formats: []: {FORMAT_LIST} is expected"),
        ("[apps.live]\nrecord_cut_s = -1", "apps.live.record_cut_s: -1: a number of seconds >= 0 is expected"),
        (
            "[apps.live]\nrecord_cut_bytes = 0.5",
            "apps.live.record_cut_bytes: 0.5: a whole number of bytes >= 0 is expected",
        ),
        ('[apps.live]\nrecord_faststart = "yes"', 'apps.live.record_faststart: "yes": true or false is expected'),
        ("[apps.live]\nhls_segment_s = 0", "apps.live.hls_segment_s: 0: a number of seconds > 0 is expected"),
        ('[apps.live]\nhls_segment_type = "mp4"', 'apps.live.hls_segment_type: "mp4": "fmp4" or "ts" is expected'),
        ("[apps.live]\nresume_s = -0.1", "apps.live.resume_s: -0.1: a number of seconds >= 0 is expected"),
        ("[recordings]\nmax_age_s = -1", "recordings.max_age_s: -1: a number of seconds >= 0 is expected"),
        ("[recordings]\nmax_bytes = 1.5", "recordings.max_bytes: 1.5: a whole number of bytes >= 0 is expected"),
        (
            "[recordings]\nmin_free_bytes = -1",
            "recordings.min_free_bytes: -1: a whole number of bytes >= 0 is expected",
        ),
        ("[callbacks]\nparallel = 1", "callbacks.parallel: 1: a whole number >= 2 is expected"),
        ("[workers]\ncount = 0", "workers.count: 0: a whole number >= 1 and <= 64 is expected"),
        ("[workers]\ncount = 65", "workers.count: 65: a whole number >= 1 and <= 64 is expected"),
        ("[workers]\nmemory_bytes = 0", "workers.memory_bytes: 0: a whole number of bytes >= 1 is expected"),
        ("[workers]\nqueue_bytes = true", "workers.queue_bytes: true: a whole number of bytes >= 1 is expected"),
        (
            '[apps.live]\nrecord_path = "../x"',
            'apps.live.record_path: "../x": a relative path without . or .. is expected',
        ),
        ('[data]\ndirectory = "a\\u0000"', 'data.directory: "a\\u0000": the path of a directory is expected'),
        ('[rtmps]\ncert = "/nowhere"', 'rtmps.cert: "/nowhere": the path of a file that can be read is expected'),
    ],
)
def test_a_wrong_value_is_named_with_its_key_and_what_is_expected(text, fault):
    assert [fault] == faults(text)


def test_an_unknown_key_is_refused_with_the_keys_that_exist_and_the_likeliest():
    (fault,) = faults("[apps.live]\ngrce_s = 3")

    assert fault.startswith("apps.live.grce_s: 3: no such key; one of push, ")
    assert fault.endswith("is expected (did you mean grace_s?)")


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ('publish_key = "sesame"', "publish_key"),
        ('[https]\ntokens = ["sesame"]', "https.tokens"),
        ('[app.live]\npublish_key = ["sesame"]', "app"),
        ('[[apps.live]]\npublish_key = ["sesame"]', "apps.live"),
        ('[apps]\nlive = "sesame"', "apps.live"),
        ('[apps.live.record]\npublish_key = "sesame"', "apps.live.record"),
        ('[[apps.live.grce_s]]\npublish_key = "sesame"', "apps.live.grce_s"),
    ],
)
def test_a_key_that_stands_in_the_wrong_place_is_not_shown(text, key):
    (fault,) = faults(text)

    assert fault.startswith(f"{key}: (not shown): ")
    assert "sesame" not in fault


def test_every_fault_is_told_at_once_those_between_keys_included():
    found = faults(
        'zork = 1\n[rtmp]\nlisten = "0.0.0.0:1935"\n[apps.live]\ngrace_s = "ten"\n[rtmps]\nlisten = ":1936"\n'
    )

    assert {"zork", "apps.live.grace_s", "rtmps.cert", "rtmps.key", "rtmp.listen", "rtmps.listen"} == {
        fault.partition(":")[0] for fault in found
    }


def test_a_value_that_is_long_or_has_control_characters_stays_one_short_line():
    (fault,) = faults(f'[players]\nlag = "\\u001b[2J\\n{"x" * 1000}"')

    assert fault.isprintable()
    assert len(fault) < 200


@pytest.mark.parametrize("line", ['publish_key = ["hush hush"]', 'publish_kye = "hush"', "play_key = [42, {hush = 1}]"])
def test_a_key_is_never_shown_in_a_fault(line):
    found = faults(f"[apps.live]\n{line}")

    assert found
    assert not any("hush" in fault or "42" in fault for fault in found)


@pytest.mark.parametrize("listen", ["0.0.0.0:1935", ":1935", "[::]:1935", "192.0.2.1:1935", "example.org:1935"])
def test_an_address_that_others_can_reach_is_refused_while_anyone_may_publish(listen):
    expected = (
        f'rtmp.listen: "{listen}": a loopback address, or a publish_key for apps.live, or open = true is expected'
    )

    assert [expected] == faults(f'[rtmp]\nlisten = "{listen}"')


def test_two_listeners_cannot_have_one_port():
    assert faults('[http]\nlisten = "127.0.0.1:1935"') == [
        'http.listen: "127.0.0.1:1935": another port than that of rtmp.listen is expected'
    ]
    assert faults('open = true\n[rtmp]\nlisten = ":8080"') == [
        'http.listen: "127.0.0.1:8080": another port than that of rtmp.listen is expected'
    ]
    assert validate({"rtmp": {"listen": "127.0.0.1:0"}, "http": {"listen": "127.0.0.1:0"}})


REACHABLE = '[rtmp]\nlisten = "0.0.0.0:1935"\n'


def test_one_application_without_a_key_is_enough_to_refuse():
    (fault,) = faults(f'{REACHABLE}[apps.a]\npublish_key = "k"\n[apps.b]\nplay_key = "k"')

    assert "a publish_key for apps.b, or open" in fault


@pytest.mark.parametrize(
    "text",
    [
        f"open = true\n{REACHABLE}",
        f'{REACHABLE}[apps.live]\npublish_key = ["a", "b"]',
        f'{REACHABLE}[apps.live]\npublish_secret = "s"',
        f'{REACHABLE}[apps.live]\non_publish = "http://127.0.0.1/hook"',
    ],
)
def test_what_keeps_strangers_from_publishing_allows_any_address(text):
    assert Address("0.0.0.0", 1935) == validate(tomllib.loads(text)).rtmp.listen


def test_a_hook_that_may_fail_to_admit_is_no_guard():
    assert faults(f'{REACHABLE}[apps.live]\non_publish = "http://127.0.0.1/hook"\nhook_failure = "admit"')


def test_an_api_that_others_can_reach_needs_a_token():
    (fault,) = faults('open = true\n[http]\nlisten = "0.0.0.0:8080"')

    assert "http.listen" in fault
    assert "an http.token" in fault
    assert validate(tomllib.loads('[http]\nlisten = "0.0.0.0:8080"\ntoken = "t"')).http.token == ("t",)


def test_a_key_that_is_wrong_is_not_also_called_missing():
    (fault,) = faults(f'{REACHABLE}[apps.live]\npublish_key = ""')

    assert fault.startswith("apps.live.publish_key[0]: ")


def test_an_edge_keeps_strangers_from_publishing():
    assert validate(tomllib.loads(f'{REACHABLE}[apps.edge]\norigin = "rtmp://h/live"')).apps["edge"].origin


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            '[pulls.news]\nsources = "rtmp://h/a/s"',
            (
                'pulls.news: "news": a stream\'s path is expected: APPLICATION/STREAM, 3 to 256 bytes, no ?, no empty, '
                ". or .. segment"
            ),
        ),
        (
            '[pulls."live/s"]',
            (
                'pulls."live/s".sources: not set: an rtmp://, rtmps://, http:// or https:// URL of a stream, '
                "or a list of them is expected"
            ),
        ),
        (
            '[pulls."live/s"]\nsources = []',
            (
                'pulls."live/s".sources: (not shown): an rtmp://, rtmps://, http:// or https:// URL of a stream, '
                "or a list of them is expected"
            ),
        ),
        (
            '[pulls."live/s"]\nsource = "rtmp://h/a/hush"\nsources = "rtmp://h/a/s"',
            (
                'pulls."live/s".source: (not shown): no such key; one of sources, on_demand, idle_s is expected '
                "(did you mean sources?)"
            ),
        ),
        (
            '[pulls."other/s"]\nsources = "rtmp://h/a/s"',
            'pulls."other/s": a table [apps.other] is expected, for the application of this stream',
        ),
        (
            '[apps.live]\norigin = ["http://h/hush"]',
            "apps.live.origin[0]: (not shown): an rtmp:// or rtmps:// URL of an application, or a list of them is expected",
        ),
    ],
)
def test_a_fault_of_a_pull_names_its_table_and_shows_no_url(text, expected):
    assert faults(text) == [expected]


@pytest.mark.parametrize(
    ("text", "since"),
    [
        ('[apps.live]\norigin = "rtmp://h/a"', "apps.live.origin"),
        ('[pulls."live/s"]\nsources = "rtmp://h/a/s"\non_demand = true', 'pulls."live/s".on_demand'),
    ],
)
def test_what_is_on_demand_needs_players_that_wait(text, since):
    expected = f"players.wait_s: 0.0: a number of seconds > 0 is expected, since {since} is set"

    assert faults(f"{text}\n[players]\nwait_s = 0") == [expected]


def test_rtmps_needs_both_its_files(tmp_path):
    (tmp_path / "cert.pem").touch()

    (fault,) = faults(f'[rtmps]\nlisten = "127.0.0.1:0"\ncert = "{tmp_path}/cert.pem"')

    assert fault == "rtmps.key: not set: the path of a file that can be read is expected, since rtmps.listen is set"


def test_https_has_files_of_its_own_or_those_of_rtmps(tmp_path):
    (tmp_path / "cert.pem").touch()
    listen = '[https]\nlisten = "127.0.0.1:0"\n'
    pair = f'cert = "{tmp_path}/cert.pem"\nkey = "{tmp_path}/cert.pem"\n'
    missing = "not set: the path of a file that can be read is expected, since https.listen is set"

    assert faults(listen) == [f"https.cert: {missing}", f"https.key: {missing}"]
    assert faults(f'{listen}cert = "{tmp_path}/cert.pem"\n[rtmps]\n{pair}') == [f"https.key: {missing}"]
    assert faults(f'{listen}{pair}[rtmps]\ncert = "/nowhere"') == [
        'rtmps.cert: "/nowhere": the path of a file that can be read is expected'
    ]
    for text in (listen + pair, f"{listen}[rtmps]\n{pair}"):
        config = validate(tomllib.loads(text))
        assert config.https_certificate == (tmp_path / "cert.pem", tmp_path / "cert.pem")
    assert validate({}).https_certificate is None


def test_https_is_as_careful_as_http(tmp_path):
    (tmp_path / "both.pem").touch()
    text = f'[https]\nlisten = "0.0.0.0:8443"\ncert = "{tmp_path}/both.pem"\nkey = "{tmp_path}/both.pem"\n'

    (fault,) = faults(text)

    assert fault == 'https.listen: "0.0.0.0:8443": a loopback address, or an http.token for the API is expected'
    assert validate(tomllib.loads(f'{text}[http]\ntoken = "t"')).https.listen.port == 8443


def test_what_another_part_checks_is_told_with_the_rest():
    def check(config):
        yield ("apps", "live", "record_path"), f"wrong for {len(config.apps)}"

    with pytest.raises(ConfigError) as caught:
        validate({"open": 1}, [check])

    assert caught.value.faults == ["open: 1: true or false is expected", "apps.live.record_path: wrong for 1"]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (None, "No such file or directory: a file that can be read is expected"),
        (b"[rtmp", "valid TOML is expected"),
        (b"\xff", "valid TOML is expected"),
    ],
)
def test_a_file_that_cannot_be_read_is_one_fault(tmp_path, content, expected):
    path = tmp_path / "rtmpd.toml"
    if content is not None:
        path.write_bytes(content)

    with pytest.raises(ConfigError) as caught:
        load(path)

    (fault,) = caught.value.faults
    assert fault.startswith(f"{path}: ")
    assert fault.endswith(expected)


def test_the_reference_loads_back_to_the_defaults():
    assert Config() == validate(tomllib.loads(reference()))


def test_the_reference_with_everything_uncommented_names_every_key_once():
    settings = [line.removeprefix("# ") for line in reference().splitlines() if " = " in line and "[" not in line[:3]]
    keys = [line.partition(" = ")[0] for line in settings if line.partition(" = ")[0].isidentifier()]

    assert sorted(path.rpartition(".")[2] for path in FIELDS) == sorted(keys)
