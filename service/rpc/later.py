"""How a handler leaves the thread that it runs in, and goes on in another."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pricegrid.service.rpc.call import Caller
    from pricegrid.service.rpc.response import Response


class Later(BaseException):
    """What a handler raises to go on elsewhere, with the same message and another function. It is no error: gRPC lets
    it pass, and who called the handler catches it."""

    def __init__(
        self,
        submit: Callable[[Callable[[], None]], object],
        behavior: Callable[[bytes, Any], bytes],
        raw: bytes,
    ) -> None:
        super().__init__()
        self.submit = submit
        """Takes what is to be done there."""
        self.behavior = behavior
        self.raw = raw


class NeedsThread(BaseException):
    """A method that was asked not to wait would have to: `go_on` does the rest, for the same caller, in any thread."""

    def __init__(self, go_on: Callable[["Caller"], "Response"]) -> None:
        super().__init__()
        self.go_on = go_on
