"""`--redis-url` and `PRICEGRID_REDIS_URL`: which Redis, and where its password may be."""

import argparse

import pytest

from pricegrid.service.cli.main import main
from pricegrid.service.cli.redis_url import add_redis_url, redis_from
from pricegrid.service.cli.text import UsageError

VARIABLE = "PRICEGRID_REDIS_URL"


def parsed(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    add_redis_url(parser, "a Redis")
    return parser.parse_args(words)


@pytest.mark.parametrize(
    "url",
    [
        "redis://:hunter2@h",
        "redis://me:hunter2@h:1/3",
        "rediss+sentinel://me:hunter2@h,i/main",
        "redis://h?password=hunter2",
        "redis+sentinel://h/main?sentinel_password=hunter2",
    ],
)
@pytest.mark.parametrize("command", ["serve", "accept-loss"])
def test_a_password_is_no_argument(tmp_path, capsys, command, url):
    words = {"serve": ["--store", str(tmp_path)], "accept-loss": ["--reason", "lost"]}[command]

    assert main([command, *words, "--redis-url", url]) == 2
    said = capsys.readouterr().err
    assert "every user of this machine can read" in said
    assert "hunter2" not in said


def test_a_password_may_be_in_a_file_or_in_the_environment(tmp_path):
    (tmp_path / "secret").write_text("hunter2\n")

    from_file = redis_from(parsed("--redis-url", f"redis://me@h?password_file={tmp_path / 'secret'}"), {})
    from_variable = redis_from(parsed(), {VARIABLE: "redis://me:hunter2@h"})
    assert from_file.password == from_variable.password == "hunter2"


def test_the_option_goes_before_the_variable():
    assert redis_from(parsed("--redis-url", "redis://h"), {VARIABLE: "redis://i"}).nodes == (("h", 6379),)
    assert redis_from(parsed(), {}) is None
    assert redis_from(parsed(), {VARIABLE: ""}) is None


@pytest.mark.parametrize(
    "url", ["redis://:hunter2\u2100x@h:6379", "redis://me:1?hunter2@h:6379/0", "redis://[hunter2@h"]
)
def test_no_message_shows_what_may_be_a_password(url, capsys):
    with pytest.raises(UsageError) as told:
        redis_from(parsed(), {VARIABLE: url})
    assert "hunter2" not in str(told.value)
    with pytest.raises(SystemExit):
        parsed("--redis-url", url)
    assert "hunter2" not in capsys.readouterr().err


@pytest.mark.parametrize("url", ["http://h", "redis://h?password_file=/absent", "redis://h:x"])
def test_what_is_wrong_with_the_variable_is_said_by_its_name(url):
    with pytest.raises(UsageError, match=VARIABLE):
        redis_from(parsed(), {VARIABLE: url})


def test_accept_loss_needs_a_redis(capsys, monkeypatch):
    monkeypatch.delenv(VARIABLE, raising=False)

    assert main(["accept-loss", "--reason", "lost"]) == 2
    assert f"{VARIABLE} can say it too" in capsys.readouterr().err
