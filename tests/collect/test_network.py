from __future__ import annotations

import asyncio
import itertools
from collections import Counter

import pytest

from closeup.collect.fetch import checked
from closeup.collect.limits import Limits
from closeup.collect.network import anything, check_host, is_public
from closeup.collect.outcome import NotFetched
from closeup.collect.pace import Pace, Schedule, retry_after
from closeup.collect.record import Status


@pytest.mark.parametrize(
    "address",
    ["127.0.0.1", "127.8.8.8", "0.0.0.0", "10.1.2.3", "172.16.0.1", "172.31.255.255", "192.168.1.1",
     "169.254.169.254", "100.64.0.1",
     "100.100.100.200", "168.63.129.16", "192.0.0.192", "224.0.0.1",
     "255.255.255.255", "240.0.0.1",
     "198.18.0.1", "192.0.2.1", "::", "::1", "fe80::1",
     "fe80::1%eth0",
     "fc00::1", "fd00:ec2::254", "ff02::1", "::ffff:127.0.0.1", "::ffff:169.254.169.254",
     "64:ff9b::7f00:1", "64:ff9b:1::1", "2002:7f00:1::",
     "2002:c0a8:0101::1", "2001:db8::1", "3fff::1",
     "2001:0:4136:e378:8000:63bf:3fff:fdd2", "fec0::1", "nonsense", ""],
)  # fmt: skip
def test_private_addresses(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize("address", ["8.8.8.8", "1.1.1.1", "2606:4700:4700::1111",
                                     "64:ff9b::808:808", "172.32.0.1", "100.128.0.1"])  # fmt: skip
def test_public_addresses(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST.", "a.localhost", "nas.local", "[::1]",
                                  "metadata.google.internal",
                                  "10.0.0.1", "router.lan"])  # fmt: skip
def test_private_names(host: str) -> None:
    with pytest.raises(NotFetched) as caught:
        check_host(host, is_public)
    assert caught.value.status is Status.REFUSED
    check_host(host, anything)


@pytest.mark.parametrize("host", ["localhost.example.org", "local", "8.8.8.8", "example.org"])
def test_other_names(host: str) -> None:
    if host != "local":
        check_host(host, is_public)


@pytest.mark.parametrize(
    ("url", "whole"),
    [
        ("http://EXAMPLE.org/a b.jpg#top", "http://example.org/a%20b.jpg"),
        ("https://bücher.example/ü.jpg?q=ß", "https://xn--bcher-kva.example/%C3%BC.jpg?q=%C3%9F"),
        ("//example.org/x", "http://example.org/x"), ("../y.jpg", "http://a.test/y.jpg"),
    ],
)  # fmt: skip
def test_addresses_are_written_as_they_are_sent(url: str, whole: str) -> None:
    base = checked("http://a.test/b/c.jpg", is_public)
    assert str(checked(url, is_public, None if "://" in url else base)) == whole


@pytest.mark.parametrize("value", ["", "soon", "-5", "1e9", "99999999999", "Wed, 99 Foo 2020"])
def test_a_retry_after_that_says_nothing(value: str) -> None:
    assert retry_after(value) == 0.0


def test_backoff_doubles_with_jitter() -> None:
    pace = Pace(Limits(backoff=1))
    waits = [[pace.backoff(attempt) for _ in range(200)] for attempt in (1, 2, 3)]
    for attempt, mine in enumerate(waits):
        assert 2**attempt * 0.66 <= min(mine) < max(mine) <= 2**attempt * 1.34
        assert len(set(mine)) > 190


def test_jobs_of_ready_hosts_do_not_wait_for_a_slow_one() -> None:
    async def order() -> list[str]:
        pace = Pace(Limits(per_host=1, rate=1000))
        jobs = [("slow", n) for n in range(50)] + [("quick", n) for n in range(3)]
        schedule = Schedule(pace, jobs)
        pace.pause("slow", 0.2)
        taken = []
        while job := await schedule.take():
            taken.append(job[0])
            if job[0] == "slow" and taken.count("slow") == 1:
                schedule.again(*job, 0.01)
            else:
                schedule.done(job[0])
        return taken

    taken = asyncio.run(order())
    assert taken[:3] == ["quick"] * 3
    assert Counter(taken) == {"quick": 3, "slow": 51}


def test_no_more_jobs_of_a_host_than_it_may_have() -> None:
    async def most() -> int:
        pace = Pace(Limits(per_host=2, rate=1000))
        schedule = Schedule(pace, [("a", n) for n in range(9)])
        busy = seen = 0

        async def work() -> None:
            nonlocal busy, seen
            while job := await schedule.take():
                busy += 1
                seen = max(seen, busy)
                await asyncio.sleep(0.002)
                busy -= 1
                schedule.done(job[0])

        await asyncio.gather(*(work() for _ in range(5)))
        return seen

    assert asyncio.run(most()) == 2


def test_a_crawl_delay_is_kept_up_to_a_minute() -> None:
    async def gaps() -> list[float]:
        loop = asyncio.get_running_loop()
        pace = Pace(Limits(rate=1000))
        pace.slow_down("a", 0.05)
        times = []
        for _ in range(4):
            async with pace.turn("a"):
                times.append(loop.time())
        pace.slow_down("b", 86_400)
        assert pace._host("b").delay == 60
        return [later - sooner for sooner, later in itertools.pairwise(times)]

    assert min(asyncio.run(gaps())) >= 0.049
