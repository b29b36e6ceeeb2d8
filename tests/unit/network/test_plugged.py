"""Network plugins that answer what they should not."""

import msgspec
import pytest

from corten.network.plugged.calls import DriverPlugin
from corten.network.values import Plugged
from corten.plugins.client import PluginError


class Answering:
    name = "fabric"

    def __init__(self, interface):
        self._interface = interface

    def call(self, method, document, reply):
        return msgspec.convert({"Interface": self._interface}, reply)


def endpoint(interface, **given):
    driver = DriverPlugin(Answering(interface))
    return driver.create_endpoint("n" * 64, Plugged(endpoint_id="e" * 64, **given), {})


@pytest.mark.parametrize(
    "mac", ["nonsense", "02:00", "01:00:5e:00:00:01", "02:00:00:00:00:00:00:01", "é", "::"]
)
def test_a_mac_that_no_interface_can_have_is_refused(mac):
    with pytest.raises(
        PluginError, match=f"NetworkDriver.CreateEndpoint: plugin fabric: invalid MAC address: {mac}"
    ):
        endpoint({"MacAddress": mac})


def test_a_mac_is_written_in_one_way():
    assert endpoint({"MacAddress": "02-AA-00-00-00-01"}).mac == "02:aa:00:00:00:01"


def test_what_was_given_is_not_changed():
    with pytest.raises(PluginError, match="changes what it was given"):
        endpoint({"MacAddress": "02:00:00:00:00:02"}, mac="02:00:00:00:00:01")
