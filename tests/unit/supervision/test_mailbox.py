import threading

import pytest

from sidecar.supervision.mailbox import Mailbox
from sidecar.supervision.messages import Stop


def test_messages_come_out_in_order_and_once() -> None:
    box: Mailbox[str] = Mailbox(3)
    assert [box.offer(word) for word in ("a", "b", "c")] == [True, True, True]
    assert [box.take(0) for _ in range(4)] == ["a", "b", "c", None]


def test_a_full_inbox_drops_and_keeps_what_it_has() -> None:
    box: Mailbox[str] = Mailbox(1)
    assert box.offer("look again")
    assert not box.offer("look again, too")
    assert box.take(0) == "look again"
    assert box.take(0) is None
    assert box.offer("later")


def test_what_is_in_a_hurry_takes_the_place_of_what_is_not() -> None:
    box: Mailbox[int | str] = Mailbox(1)
    assert box.overtake(1, str)
    assert not box.overtake(2, str)  # one of its own kind waits, and says the same
    assert box.take(0) == 1
    box.offer("can wait")
    assert box.overtake(3, str)
    assert [box.take(0), box.take(0)] == [3, None]
    box.stop()
    assert not box.overtake(4, str)
    assert box.take(0) is Stop.STOP


def test_a_box_of_several_keeps_its_order() -> None:
    box: Mailbox[int | str] = Mailbox(2)
    assert box.overtake("a", int)
    assert box.overtake(1, str)
    assert not box.overtake(2, str)
    assert [box.take(0), box.take(0), box.take(0)] == ["a", 1, None]


def test_replace_throws_out_everything_that_waits() -> None:
    box: Mailbox[int] = Mailbox(3)
    for number in range(3):
        box.offer(number)
    assert box.replace(7)
    assert box.take(0) == 7
    assert box.take(0) is None


def test_take_times_out_with_none() -> None:
    assert Mailbox[int](1).take(0.001) is None
    assert Mailbox[int](1).take(-1) is None


def test_a_waiting_reader_is_woken_by_a_message() -> None:
    box: Mailbox[int] = Mailbox(1)
    got: list[object] = []
    reader = threading.Thread(target=lambda: got.append(box.take(10)))
    reader.start()
    box.offer(1)
    reader.join(10)
    assert got == [1]


def test_stop_overtakes_succeeds_when_full_and_is_final() -> None:
    box: Mailbox[int] = Mailbox(1)
    box.offer(1)
    box.stop()
    box.stop()
    assert [box.take(0), box.take(None), box.take(0.01)] == [Stop.STOP] * 3
    assert not box.offer(2)
    assert not box.replace(3)
    assert box.take(0) is Stop.STOP


def test_a_reader_that_comes_while_another_holds_the_stop_is_told_too() -> None:
    box: Mailbox[int] = Mailbox(1)
    box.stop()
    box._queue.get_nowait()  # as the other reader does for a moment
    assert box.take(0) is Stop.STOP


def test_stop_wakes_every_reader_that_waits() -> None:
    box: Mailbox[int] = Mailbox(1)
    got: list[object] = []
    readers = [threading.Thread(target=lambda: got.append(box.take(None))) for _ in range(5)]
    for reader in readers:
        reader.start()
    box.stop()
    for reader in readers:
        reader.join(10)
    assert got == [Stop.STOP] * 5


def test_many_senders_lose_nothing_but_what_was_refused() -> None:
    box: Mailbox[tuple[int, int]] = Mailbox(10_000)
    taken = [[False] * 500 for _ in range(8)]

    def send(sender: int) -> None:
        for number in range(500):
            taken[sender][number] = box.offer((sender, number))

    senders = [threading.Thread(target=send, args=(sender,)) for sender in range(8)]
    for thread in senders:
        thread.start()
    for thread in senders:
        thread.join(20)
    assert all(all(row) for row in taken)
    out = [box.take(0) for _ in range(4000)]
    assert box.take(0) is None
    for sender in range(8):
        assert [message for message in out if isinstance(message, tuple) and message[0] == sender] == [
            (sender, number) for number in range(500)
        ]


def test_replacing_against_a_reader_never_blocks_and_ends_with_the_latest() -> None:
    box: Mailbox[int] = Mailbox(1)
    seen: list[int] = []

    def read() -> None:
        while True:
            message = box.take(10)
            if not isinstance(message, int):
                return
            seen.append(message)
            if message == 2000:
                return

    reader = threading.Thread(target=read)
    reader.start()
    for number in range(1, 2001):
        assert box.replace(number)
    reader.join(20)
    assert seen[-1] == 2000
    assert seen == sorted(set(seen))


def test_a_mailbox_holds_at_least_one() -> None:
    with pytest.raises(ValueError, match="at least one message, not 0"):
        Mailbox(0)
