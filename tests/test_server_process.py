"""Where the server process is reached."""

from urllib.parse import urlsplit

import pytest

from demo.server_process import reached_at


@pytest.mark.parametrize(
    "host, url",
    [
        ("127.0.0.1", "ws://127.0.0.1:"),
        ("localhost", "ws://localhost:"),
        ("0.0.0.0", "ws://127.0.0.1:"),
        ("::1", "ws://[::1]:"),
        ("::", "ws://[::1]:"),
    ],
)
def test_a_server_process_is_reached_wherever_it_listens(host, url):
    address = reached_at(host, 8765)
    assert address == url + "8765"
    assert urlsplit(address).port == 8765
