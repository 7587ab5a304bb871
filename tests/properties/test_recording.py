"""Recording against everything that can happen to it, in any order: no file is unknown, no frame is missing."""

from __future__ import annotations

import asyncio
import errno
import itertools
import json
import re
import tempfile
from collections import Counter
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from rtmpd.errors import Overloaded
from rtmpd.workers import recorder as recorder_module
from rtmpd.workers.answers import NotEntered
from tests.helpers.studio import Rig

FULL = OSError(errno.ENOSPC, "No space left on device")
BROKEN = OSError(errno.EIO, "Input/output error")
KINDS = st.text("k...", min_size=1, max_size=6)
WORKERS = st.integers(0, 2)
FORMATS = st.sampled_from(["flv", "hls"])
PAUSES_S = st.sampled_from([0.3, 1.0, 6.0, 70.0])
WISHES = st.fixed_dictionaries(
    {
        "file_name": st.sampled_from(["", "a", "b"]),
        "formats": st.sampled_from([("flv",), ("hls",), ("flv", "hls")]),
        "max_duration_s": st.sampled_from([0.0, 30.0]),
    }
)
SHORT_S = 0.001
"""What a stop waits for its files, and for an index that does not answer."""
TROUBLES = [None, "hold_database_or_release_it", "overload_or_have_room"]
"""What there may be from the first publisher on."""
BEFORE_ITS_START = {"", "record_start_failed"}
TRUE_OF = {
    "running": BEFORE_ITS_START | {"record_start_succeeded", "record_resumed"},
    "waiting": BEFORE_ITS_START | {"record_paused"},
}
"""By phase: what may have been told last of a recording."""
LIFE = re.compile("(start_failed )?(start_succeeded (paused resumed )*(paused )?)?ended ")
"""Every order of turns that is right, errors apart."""


class RecordingInAnyOrder(RuleBasedStateMachine):
    """One stream that is recorded as FLV and HLS, by the configuration and now and then by request as well."""

    def __init__(self):
        super().__init__()
        self.loop = asyncio.Runner()
        self.folder = tempfile.TemporaryDirectory()
        self.publication = None
        self.tasks = {}
        """By id: whether it was told to stop."""
        self.unsure = set()
        """Tasks whose stop was answered as not entered: a server that is killed now does not remember it."""
        self.patience = {name: getattr(recorder_module, name) for name in ("FILES_S", "ENTER_S")}
        recorder_module.FILES_S = SHORT_S
        self.owed_frames = set()
        """Numbers of frames that must be in the files of each format at the end."""
        self.lost = {"flv": set(), "hls": set()}

    def do(self, work):
        return self.loop.run(work)

    def settle(self):
        self.do(self.rig.settle())

    @initialize(
        resume_s=st.sampled_from([0, 60]),
        path=st.sampled_from(["{id}-{sequence}", "x"]),
        trouble=st.sampled_from(TROUBLES),
    )
    def begin(self, resume_s, path, trouble):
        self.app = {
            "record_formats": ["flv", "hls"],
            "record_path": f"{{app}}/{{stream}}/{path}.{{format}}",
            "resume_s": resume_s,
        }
        self.start_server()
        if trouble is not None:
            getattr(self, trouble)()

    def start_server(self):
        self.rig = self.do(Rig.open(Path(self.folder.name), **self.app))

    def on_disk(self, file_format):
        suffix = {"flv": ".flv", "hls": ".m3u8"}[file_format]
        return {n for path in self.rig.on_disk() if path.endswith(suffix) for n in self.rig.frames(path)}

    def note_lost(self):
        for worker in self.rig.supervisor.workers:
            for file_format, numbers in worker.lost_frames.items():
                self.lost[file_format] |= numbers

    @property
    def workers(self):
        return self.rig.supervisor.running

    @property
    def is_busy(self):
        """Whether anything is recorded, or waits for its publisher."""
        return bool(self.rig.recorder.statuses)

    @precondition(lambda self: self.publication is None or not self.publication.current)
    @rule(kinds=st.just("") | KINDS)
    def publish(self, kinds):
        self.publication = self.do(self.call(self.rig.publish))
        self.send(kinds)

    async def call(self, action):
        result = action()
        await self.rig.settle()
        return result

    @precondition(lambda self: self.publication is not None and self.publication.current)
    @rule(kinds=KINDS)
    def send(self, kinds):
        self.owed_frames.update(self.do(self.call(lambda: self.rig.send(self.publication, kinds))))

    @precondition(lambda self: self.publication is not None and self.publication.current)
    @rule(how=st.sampled_from(["end", "lose"]))
    def unpublish(self, how):
        self.do(self.call(lambda: getattr(self.rig, how)(self.publication)))

    @precondition(lambda self: self.publication is not None and self.publication.current)
    @rule()
    def take_over(self):
        self.publication = self.do(self.call(self.rig.publish))

    @precondition(lambda self: self.publication is not None and self.publication.current)
    @rule(wish=WISHES)
    def record_by_request(self, wish):
        task_id = f"task-{len(self.tasks)}"
        started = self.do(self.call(lambda: self.rig.request(self.publication, task_id=task_id, **wish)))
        assert started.already == (started.row.task_id != task_id)
        self.tasks.setdefault(started.row.task_id, False)

    @precondition(lambda self: self.tasks)
    @rule(number=st.integers(0, 9))
    def stop_a_task(self, number):
        task_id = sorted(self.tasks)[number % len(self.tasks)]
        was_stopped, runs = self.tasks[task_id], self.rig.recorder.find(task_id) is not None
        self.tasks[task_id] = True
        recorder_module.ENTER_S = self.patience["ENTER_S"] if self.rig.held is None else SHORT_S
        try:
            stopped = self.do(self.rig.recorder.stop(task_id))
        except NotEntered:
            assert self.rig.held is not None
            self.unsure.add(task_id)
            return
        if stopped is None:  # asked for by a server that was killed before it could write that down
            assert not runs
            return
        assert stopped.row.task_id == task_id
        assert stopped.already or not was_stopped
        assert stopped.state == "closing" or all(file.state == "closed" for file in stopped.files)
        self.settle()

    def change(self, number, action):
        """Have something done by one of the workers."""
        worker = self.workers[number % len(self.workers)]
        self.do(self.call(lambda: action(worker)))

    @precondition(lambda self: self.workers)
    @rule(number=WORKERS, count=st.sampled_from([1, 2, 5, None]))
    def write(self, number, count):
        self.change(number, lambda worker: worker.write(count))

    def write_unheard(self):
        """Have the workers write what they have; the index does not hear of it any more."""
        self.rig.running[0].cancel()  # the ledger
        for worker in self.workers:
            self.do(self.call(worker.write))

    @precondition(lambda self: self.workers)
    @rule(number=WORKERS)
    def finish_feed(self, number):
        self.change(number, lambda worker: worker.finish())

    @precondition(lambda self: self.workers)
    @rule(number=WORKERS, file_format=FORMATS)
    def cut(self, number, file_format):
        def cut(worker):
            if file_format in worker.open_grants and worker.grants[file_format]:
                worker.cut(file_format)

        self.change(number, cut)

    @precondition(lambda self: self.workers)
    @rule(number=WORKERS, file_format=FORMATS, error=st.sampled_from([FULL, BROKEN]))
    def fail(self, number, file_format, error):
        def fail(worker):
            if file_format in worker.open_grants:
                worker.fail(file_format, error)
            elif worker.grants.get(file_format):
                worker.open(file_format, error)

        self.change(number, fail)

    @precondition(lambda self: self.workers)
    @rule(after_making=st.booleans())
    def kill_worker(self, after_making):
        """All feeds lose their worker, some between the making of a file and the word of it."""
        for worker in self.workers:
            waiting = [each for each in worker.formats if each not in worker.open_grants and worker.grants[each]]
            if after_making and waiting:
                path = Path(worker.grants[waiting[0]][0].path)
                path.parent.mkdir(parents=True, exist_ok=True)
                path.touch()
        self.do(self.call(lambda: self.rig.supervisor.die(*self.workers)))

    @precondition(lambda self: self.is_busy)
    @rule(seconds=PAUSES_S)
    def pass_time(self, seconds):
        self.do(self.rig.pass_time(seconds if self.rig.supervisor.refusal is None else min(seconds, 6.0)))

    @precondition(lambda self: self.is_busy)
    @rule()
    def hold_database_or_release_it(self):
        if self.rig.held is None:
            self.rig.hold_database()
        else:
            self.rig.release_database()
            self.settle()
            self.unsure.clear()

    @precondition(lambda self: self.is_busy)
    @rule()
    def overload_or_have_room(self):
        self.rig.supervisor.refusal = Overloaded("no room") if self.rig.supervisor.refusal is None else None

    @precondition(lambda self: self.is_busy)
    @rule(how=st.sampled_from(["stop", "kill", "kill before the last is entered"]))
    def restart(self, how):
        if how == "stop" and self.rig.held is None and self.rig.supervisor.refusal is None:
            self.do(self.rig.stop())
            self.note_lost()
        else:
            if how == "kill before the last is entered":
                self.write_unheard()
            self.note_lost()
            self.do(self.rig.kill())
            self.owed_frames &= self.on_disk("flv") & self.on_disk("hls")
            self.tasks.update(dict.fromkeys(self.unsure, False))
        self.unsure.clear()
        self.publication = None
        self.start_server()

    @invariant()
    def what_was_told_to_stop_does_not_go_on(self):
        if hasattr(self, "rig"):
            for each in self.rig.recorder.recordings:
                assert each.is_over or not self.tasks.get(each.row.task_id)

    @invariant()
    def a_task_is_recorded_once(self):
        if hasattr(self, "rig"):
            running = [status.row.task_id for status in self.rig.recorder.statuses if status.row.task_id]
            assert len(running) == len(set(running))

    @invariant()
    def what_was_told_last_is_so(self):
        if hasattr(self, "rig") and self.rig.held is None:
            told = self.do(self.rig.told_last())
            for status in self.rig.recorder.statuses:
                last = told[status.row.recording_id]
                assert last in TRUE_OF.get(status.phase, {last}), status.phase

    def teardown(self):
        try:
            if hasattr(self, "rig"):
                self.finish()
        finally:
            for name, seconds in self.patience.items():
                setattr(recorder_module, name, seconds)
            self.loop.close()
            self.folder.cleanup()

    def finish(self):
        rig = self.rig
        rig.supervisor.refusal = None
        rig.release_database()
        rig.registry.end_all("the test ends")
        for _ in range(6):
            for each in rig.recorder.recordings:
                if each.plan.origin == "manual":
                    each.end("the test ends")
            self.settle()
            for worker in self.workers:
                worker.finish()
            self.do(rig.pass_time(70.0))
        self.note_lost()
        try:
            self.check(rig)
        finally:
            self.do(rig.close())

    def check(self, rig):
        files = self.do(rig.files())
        assert rig.recorder.recordings == ()
        assert sorted(file.path for file in files) == rig.on_disk()
        assert {file.state for file in files} <= {"closed"}
        assert set(self.do(rig.recordings()).values()) <= {"ended"}

        told = [json.loads(body) for body in self.do(rig.owed(100))]
        sizes = {(body["file_id"], body["file_size"]) for body in told}
        assert len(sizes) == len(told)
        assert sizes >= {(file.file_id, file.size_bytes) for file in files}
        assert all(count == 1 for count in Counter(b["file_id"] for b in told if b["file_format"] == "flv").values())

        self.check_turns([json.loads(body) for body in self.do(rig.owed(332, 100))], set(self.do(rig.recordings())))

        for file_format, lost in self.lost.items():
            assert self.owed_frames - lost <= self.on_disk(file_format), file_format

    def check_turns(self, told, recordings):
        """Each recording's turns are numbered without a hole, in an order that is right, and its files come after its start."""
        lives = {recording_id: [] for recording_id in recordings}
        for body in told:
            lives[body.get("session_id") or body["video_id"]].append(body)
        for life in lives.values():
            turns = [body for body in life if "seq" in body]
            assert [turn["seq"] for turn in turns] == list(range(1, len(turns) + 1))
            events = [turn["record_event"].removeprefix("record_") for turn in turns]
            assert events[-1] == "ended"
            assert LIFE.fullmatch("".join(f"{event} " for event in events if event != "error")), events
            without_start = itertools.takewhile(lambda body: body.get("record_event") != "record_start_succeeded", life)
            assert not [body["path"] for body in without_start if "path" in body]


TestRecordingInAnyOrder = RecordingInAnyOrder.TestCase
TestRecordingInAnyOrder.settings = settings(
    settings(), max_examples=max(50, settings().max_examples // 5), stateful_step_count=25
)
