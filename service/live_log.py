"""A writer's side of the cache: what it commits, and what others have committed since."""

from collections.abc import Callable, Sequence

from cache.protocol import START, CacheError, Change, Commit, Committed, Conflict, Key, StateCache
from service.errors import Reason, RequestRefusedError
from service.limits import FOLLOW_CHANGES_MAX


class LiveLog:
    """Follows the log from its beginning. Used by one thread at a time."""

    def __init__(self, cache: StateCache, take: Callable[[Change], None]) -> None:
        """`take` is handed every change that was not committed here, in order."""
        self._cache = cache
        self._take = take
        self._position = START
        self._own: set[str] = set()
        self.versions: dict[Key, int] = {}
        """Of the records that changes may have to expect, as far as they were followed."""

    def expected(self, keys: Sequence[Key]) -> dict[Key, int]:
        """The versions that a change which was worked out now has to meet."""
        return {key: self.versions.get(key, 0) for key in keys}

    def commit(self, commit: Commit) -> Committed | Conflict:
        """See `commit_all`."""
        return self.commit_all([commit])[0]

    def commit_all(self, commits: Sequence[Commit]) -> list[Committed | Conflict]:
        """Make commits durable together; refuses with LIVE_STATE_UNAVAILABLE.

        What met a conflict may be worked out again when this returns: all that led to it has been followed."""
        try:
            answers = self._cache.commit(commits)
        except CacheError as error:
            raise RequestRefusedError(Reason.LIVE_STATE_UNAVAILABLE, str(error)) from error
        for answer in answers:
            if isinstance(answer, Committed):
                if answer.follows is not None and answer.follows == self._position:
                    self._position = answer.position
                else:
                    self._own.add(answer.position)
        return answers

    def follow(self) -> None:
        """Take in what others have committed since."""
        while True:
            try:
                changes = self._cache.changes(self._position, FOLLOW_CHANGES_MAX)
            except CacheError as error:
                raise RequestRefusedError(Reason.LIVE_STATE_UNAVAILABLE, str(error)) from error
            for change in changes:
                self._position = change.position
                if change.position in self._own:
                    self._own.discard(change.position)
                else:
                    self._take(change)
            if len(changes) < FOLLOW_CHANGES_MAX:
                return
