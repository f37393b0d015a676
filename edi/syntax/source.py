"""A file read in chunks: what is kept of it is one chunk and what was not taken yet."""

from typing import BinaryIO, Final

CHUNK_BYTES: Final = 65_536


class Source:
    """A window onto a stream: `buffer[place:]` was read and not taken, `base` is the file's byte at `buffer[0]`."""

    __slots__ = ("_stream", "base", "buffer", "is_at_end", "place")

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self.buffer = b""
        self.place = 0
        self.base = 0
        self.is_at_end = False

    @property
    def offset(self) -> int:
        """The byte of the file that comes next."""
        return self.base + self.place

    def fill(self) -> bool:
        """Reads another chunk, and forgets what was taken; False at the end of the file."""
        chunk = b"" if self.is_at_end else self._stream.read(CHUNK_BYTES)
        if not chunk:
            self.is_at_end = True
            return False
        self.buffer = self.buffer[self.place :] + chunk
        self.base += self.place
        self.place = 0
        return True

    def peek(self, length: int) -> bytes:
        """The next bytes, fewer only at the end of the file; none is taken."""
        while len(self.buffer) - self.place < length and self.fill():
            pass
        return self.buffer[self.place : self.place + length]

    def skip_any(self, unwanted: bytes) -> None:
        """Takes bytes as long as they are among `unwanted`."""
        while True:
            if self.place < len(self.buffer) and self.buffer[self.place] not in unwanted:
                return
            left = self.buffer[self.place :].lstrip(unwanted)
            self.place = len(self.buffer) - len(left)
            if left or not self.fill():
                return
