"""What the entry point makes of errors that no step could foresee."""

import pytest
import redis

from flows import cli


def test_a_redis_that_does_not_answer_is_named_with_the_setting_to_look_at(free_port, monkeypatch, capsys):
    monkeypatch.setattr(cli.signal, "signal", lambda *_: None)  # the handlers of pytest stay
    monkeypatch.setattr(cli, "app", lambda **_: redis.Redis(port=free_port).ping())
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 1
    said = capsys.readouterr().err
    assert said.startswith("error: Redis does not answer (")
    assert "start it, or look at POPLIFT_REDIS_URL" in said
