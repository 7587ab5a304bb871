from __future__ import annotations

from rtmpd.net.sink import Sink


def test_plain_sink_is_for_the_inner_loop_and_one_that_must_settle_is_not():
    plain = Sink(3, len, None, patience_s=1.0)
    holding = Sink(3, len, None, patience_s=1.0, settle=lambda: True)

    assert (plain.aside, plain.blocked) == (False, False)
    assert (holding.aside, holding.blocked) == (True, False)


def test_sink_has_no_dictionary_it_is_made_for_each_player():
    assert not hasattr(Sink(3, len, None, patience_s=1.0), "__dict__")
