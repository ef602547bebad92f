"""The network: a coordinator and its participants over HTTPS, and the place in which the sum is then computed."""

from importlib.util import find_spec

from tacit.errors import MissingExtra

_NEEDED = ("aiohttp", "google.protobuf", "prometheus_client")


def _missing(name: str) -> bool:
    try:
        return find_spec(name) is None
    except ModuleNotFoundError:  # of the package around it
        return True


if _MISSING := [name for name in _NEEDED if _missing(name)]:
    raise MissingExtra(f"the network needs {', '.join(_MISSING)}: pip install 'tacit[network]'")
