"""What a child on its way can learn of whoever launched it."""

from corten.task import channel


def test_a_child_is_abandoned_when_nobody_can_say_go_any_more():
    mine, theirs = channel.pair()
    with theirs:
        assert not channel.is_abandoned(theirs)
        mine.close()
        assert channel.is_abandoned(theirs)


def test_a_child_that_was_told_to_go_is_not_abandoned():
    mine, theirs = channel.pair()
    with theirs:
        channel.tell(mine, {"go": 1})
        mine.close()
        assert not channel.is_abandoned(theirs)
        assert channel.wait_for_go(theirs)
