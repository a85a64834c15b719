"""The servers that the tests of the HTTP API talk to: one process each for all tests."""

from collections.abc import Iterator

import pytest

from tests.api_client import Client, ServerProcess, running_server

CONFIG = """
[server]
body_timeout = "300ms"

[log]
level = "debug"
requests = true

[[segments]]
name = "mobile"
when = "context.device == 'mobile'"
policy = { kind = "epsilon_greedy" }

[[segments]]
name = "brief"
policy = { kind = "epsilon_greedy" }
reward = { wait = "1s", default = -0.5 }

[[segments]]
name = "summed"
policy = { kind = "epsilon_greedy" }
reward = { aggregate = "sum" }

[[segments]]
name = "page"
policy = { kind = "epsilon_greedy" }
reward = { slots = "all" }

[[segments]]
name = "beta"
policy = { kind = "thompson" }

[default]
policy = { kind = "vw" }
"""


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """Return a server without API keys, with short limits of time."""
    with running_server(tmp_path_factory.mktemp("server"), CONFIG) as process:
        yield process


@pytest.fixture
def api(server: ServerProcess) -> Client:
    """Return a client of `server`."""
    return server.client
