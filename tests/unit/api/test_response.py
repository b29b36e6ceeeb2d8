"""Heads of answers."""

import time
from email.utils import formatdate

import pytest

from corten.api import response


@pytest.mark.parametrize(
    "times",
    [
        [1_700_000_000.5, 1_700_000_000.9, 1_700_000_001.0, 1_700_000_039.2, 1_700_000_040],
        [1_709_251_199.999, 1_709_251_200.0, 1_735_689_599, 1_735_689_600],  # leap day, new year
        [1_700_000_000.5, 1_699_999_000.5, 1_699_999_000.6],  # the clock is set back
    ],
)
def test_the_date_is_that_of_the_second(monkeypatch, times):
    for now in times:
        monkeypatch.setattr(time, "time", lambda now=now: now)
        assert response.http_date().decode() == formatdate(int(now), usegmt=True)
