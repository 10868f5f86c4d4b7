"""The times in what `apnsd.pyapns.feedback` returns: as old code knows them, and aware."""

from __future__ import annotations

import xmlrpc.client
from datetime import datetime, timedelta, timezone

import apnsd.pyapns as pyapns

MOMENT = datetime(2011, 3, 13, 7, 6, 40)


def test_a_time_is_also_what_pyapns_gave() -> None:
    time = pyapns.DateTime.combine(MOMENT, MOMENT.time(), timezone.utc)
    assert time.value == str(time) == f"{time}" == "20110313T07:06:40"
    assert time == xmlrpc.client.DateTime("20110313T07:06:40")
    assert time.timetuple()[:6] == (2011, 3, 13, 7, 6, 40)


def test_a_time_compares_with_naive_and_aware_times() -> None:
    time = pyapns.DateTime.combine(MOMENT, MOMENT.time(), timezone.utc)
    second = timedelta(seconds=1)
    for other in (MOMENT, MOMENT.replace(tzinfo=timezone.utc), MOMENT.replace(tzinfo=timezone.utc).astimezone()):
        assert other - second < time < other + second
        assert other - second <= time <= other + second
        assert [time < other, time > other] == [False, False]
        assert time - other == timedelta(0)
        assert (other + second) - time == second


def test_a_time_equals_what_has_its_hash_and_so_no_naive_time() -> None:
    time = pyapns.DateTime.combine(MOMENT, MOMENT.time(), timezone.utc)
    aware = MOMENT.replace(tzinfo=timezone.utc)
    assert [time == aware, hash(time) == hash(aware)] == [True, True]
    assert [time == MOMENT, time != MOMENT, time in {MOMENT}] == [False, True, False]


def test_a_time_in_another_zone_is_a_plain_datetime() -> None:
    time = pyapns.DateTime.combine(MOMENT, MOMENT.time(), timezone.utc)
    moved = time.astimezone(timezone(timedelta(hours=2)))
    assert type(moved) is datetime
    assert str(moved) == "2011-03-13 09:06:40+02:00"
