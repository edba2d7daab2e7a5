"""The hub is asked once and shortly; what it does not have is said at once, and without it its cache serves."""

import http.server
import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import huggingface_hub.constants as constants
import pytest
from training_runs import write_base

from esft_lightning.data import DataError
from esft_lightning.data.sources import HubDataset, hub_records
from esft_lightning.errors import SettingError
from esft_lightning.moe import hub, load_model, load_tokenizer
from esft_lightning.moe.base_source import base_source
from esft_lightning.moe.hub import BaseNotFoundError, check_on_hub

NAME = "some-org/some-model"


class Answers(http.server.BaseHTTPRequestHandler):
    """What the hub answers."""

    def do_GET(self) -> None:
        server: Hub = self.server  # type: ignore[assignment]
        server.asked += 1
        time.sleep(server.wait)
        body = json.dumps({"id": NAME, "siblings": []}).encode() if server.status == 200 else b"{}"
        self.send_response(server.status)
        if server.code:
            self.send_header("X-Error-Code", server.code)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    do_HEAD = do_GET

    def log_message(self, *arguments: object) -> None:
        pass


class Hub(http.server.ThreadingHTTPServer):
    """A hub that answers every request alike, and counts them."""

    status, code, asked, wait = 200, "", 0, 0.0


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Hub]:
    """A hub of our own in the place of the real one, and an empty cache."""
    with Hub(("127.0.0.1", 0), Answers) as found:
        threading.Thread(target=found.serve_forever, daemon=True).start()
        monkeypatch.setattr(constants, "ENDPOINT", f"http://127.0.0.1:{found.server_port}")
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setenv("HF_HUB_OFFLINE", "")
        check_on_hub.cache_clear()
        yield found
        check_on_hub.cache_clear()
        found.shutdown()


def put_into_cache(name: str = NAME) -> Path:
    """A copy of a model, as the hub's cache holds it."""
    place = Path(constants.HF_HUB_CACHE) / f"models--{name.replace('/', '--')}"
    (place / "refs").mkdir(parents=True)
    (place / "refs" / "main").write_text("a" * 40)
    return Path(write_base(place / "snapshots" / ("a" * 40)))


def test_what_is_there_is_asked_for_once(server: Hub) -> None:
    for _ in range(3):
        assert base_source(NAME) == NAME
    assert server.asked == 1


@pytest.mark.parametrize(
    ("status", "code", "said"),
    [
        (401, "", "has no such model; check the name, or log in"),
        (404, "RepoNotFound", "has no such model"),
        (403, "GatedRepo", "is gated: accept its terms at"),
        (404, "RevisionNotFound", "has no revision 'v9'"),
        (503, "", "cannot be reached"),
        (429, "", "cannot be reached"),
    ],
)
def test_what_is_not_there_is_said_after_one_request(status: int, code: str, said: str, server: Hub) -> None:
    server.status, server.code = status, code
    with pytest.raises(BaseNotFoundError, match=said):
        check_on_hub(NAME, "v9")
    assert server.asked == 1


def test_a_hub_that_does_not_answer_is_given_up_soon(server: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub, "SECONDS", 0.2)
    server.wait = 1.0
    with pytest.raises(BaseNotFoundError, match=f"{NAME}.*cannot be reached.*give a local folder, or try again later"):
        check_on_hub(NAME)


def test_model_and_tokenizer_say_the_same_without_a_network(monkeypatch: pytest.MonkeyPatch, server: Hub) -> None:
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    for load in (load_model, load_tokenizer):
        with pytest.raises(BaseNotFoundError, match=r"is no folder here.*127\.0\.0\.1:9\) cannot be reached"):
            load(NAME)


def test_without_a_network_the_cache_serves_and_nothing_more_is_asked(
    server: Hub, capsys: pytest.CaptureFixture[str]
) -> None:
    server.status = 503
    put_into_cache()
    tokenizer = load_tokenizer(NAME)
    assert tokenizer.eos_token_id == 257 and server.asked == 1
    assert load_model(NAME, random_weights=True) is not None and server.asked == 1
    said = capsys.readouterr().err
    assert said.count("cannot be reached") == 1 and "going on with what its cache holds" in said
    with pytest.raises(BaseNotFoundError, match="HF_HUB_OFFLINE forbids to ask"):
        check_on_hub("some-org/another")
    assert server.asked == 1


@pytest.mark.parametrize("name", ["./nowhere", "/no/where", "~/models/x", "tinyy", "a/b/c", "owner/", "own er/name"])
def test_what_cannot_be_a_hub_id_is_not_asked_for(name: str, server: Hub) -> None:
    with pytest.raises(BaseNotFoundError, match="is no folder and no hub id; expected tiny, a folder, or owner/name"):
        base_source(name)
    assert server.asked == 0


def test_folders_that_are_no_models_are_told_apart(tmp_path: Path, server: Hub) -> None:
    (tmp_path / "adapter").mkdir()
    (tmp_path / "adapter" / "adapter_config.json").write_text("{}")
    (tmp_path / "file").write_text("")
    for place, said in (("", "has no config.json"), ("adapter", "is an adapter folder"), ("file", "is a file")):
        with pytest.raises(BaseNotFoundError, match=said):
            base_source(tmp_path / place)
    assert server.asked == 0


def test_a_revision_of_what_is_on_this_machine_is_refused(tmp_path: Path, server: Hub) -> None:
    folder = write_base(tmp_path / "base")
    for base in (folder, f"{folder}/config.json", "tiny"):
        assert base_source(base)
        for load in (base_source, load_tokenizer, load_model):
            with pytest.raises(SettingError, match="revision 'v9' chooses among a hub repository's commits"):
                load(base, revision="v9")
    assert base_source(NAME, "v9") == NAME and server.asked == 1


def test_a_data_set_of_the_hub_is_given_up_after_one_request(server: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    datasets = pytest.importorskip("datasets")
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(DataError, match=r"some-org/rows.*cannot be loaded"):
        next(iter(hub_records(HubDataset("some-org/rows"))))
    assert datasets.config.HF_HUB_OFFLINE
