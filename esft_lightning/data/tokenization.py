"""From conversations to token ids, with a cache on disk. Knows segments and ids; knows nothing of packing.

Flat storage: all samples' ids one after another (T tokens in N samples) and their borders, so that hundreds of
thousands of samples are three arrays and load in milliseconds.
"""

import hashlib
import json
import logging
import zipfile
import zlib
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from itertools import chain, islice
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np

from esft_lightning.data.chat import FORMAT_VERSION, ChatFormat, segments
from esft_lightning.data.control_tokens import ControlTokens
from esft_lightning.data.rows import ChatRow, DataError
from esft_lightning.errors import FileError
from esft_lightning.storage import whole_file

log = logging.getLogger(__name__)

CHUNK = 2_000
"""Rows tokenized in one call: enough for the tokenizer's threads, small enough for a live progress bar."""


@dataclass(frozen=True)
class TokenizedSamples:
    """N samples, T tokens.

    Attributes:
        ids: int32 [T].
        loss: bool [T], True where a token has a label.
        offsets: int64 [N + 1]; sample i is `ids[offsets[i]:offsets[i + 1]]`.
        key: Hash of rows, tokenizer and format: equal keys, equal content.
        cached: Whether it was read from disk.
    """

    ids: np.ndarray
    loss: np.ndarray
    offsets: np.ndarray
    key: str
    cached: bool = False

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def lengths(self) -> np.ndarray:
        """Tokens of each sample, int64 [N]."""
        return np.diff(self.offsets)

    @property
    def without_label(self) -> int:
        """Samples of which no token has a label."""
        labelled_before = np.concatenate([[0], np.cumsum(self.loss)])[self.offsets]
        return int((np.diff(labelled_before) == 0).sum())

    def keep(self, chosen: np.ndarray) -> "TokenizedSamples":
        """The samples where `chosen`, bool [N], is True."""
        tokens = np.repeat(chosen, self.lengths)
        offsets = np.concatenate([[0], np.cumsum(self.lengths[chosen])]).astype(np.int64)
        return replace(self, ids=self.ids[tokens], loss=self.loss[tokens], offsets=offsets)


def tokenize_rows(
    rows: Sequence[ChatRow],
    tokenizer: Any,
    chat_format: ChatFormat = "esft",
    cache_dir: str | Path | None = None,
    num_workers: int = 0,
) -> TokenizedSamples:
    """Tokenize conversations, or read the result of having done so.

    A fast tokenizer uses all threads by itself (unless `TOKENIZERS_PARALLELISM=false`); `num_workers` processes are for
    tokenizers written in Python and for files of hundreds of thousands of rows.

    Args:
        rows: Checked conversations.
        tokenizer: A `PreTrainedTokenizerBase`.
        chat_format: See `chat`.
        cache_dir: Folder of the cache; None keeps nothing.
        num_workers: Processes; 0 or 1 works in this one.

    Raises:
        DataError: A conversation cannot be rendered.
    """
    key = tokens_key(rows, tokenizer, chat_format)
    path = None if cache_dir is None else Path(cache_dir) / f"tokens-{key[:32]}.npz"
    if path is not None and (found := _load(path, key)) is not None:
        return found
    chunks = [rows[start : start + CHUNK] for start in range(0, len(rows), CHUNK)]
    arguments = ((chunk, tokenizer, chat_format) for chunk in chunks)
    if num_workers > 1 and len(chunks) > 1:
        # spawn: a fork would copy the locks of a threaded tokenizer
        with ProcessPoolExecutor(min(num_workers, len(chunks)), mp_context=get_context("spawn")) as pool:
            parts = list(_progress(pool.map(_tokenize_chunk, *zip(*arguments, strict=True)), len(chunks)))
    else:
        parts = [_tokenize_chunk(*argument) for argument in _progress(arguments, len(chunks))]
    ids, loss, lengths = zip(*parts, strict=True) if parts else ((), (), ())
    samples = TokenizedSamples(
        ids=np.concatenate([np.zeros(0, np.int32), *ids]),
        loss=np.concatenate([np.zeros(0, bool), *loss]),
        offsets=np.concatenate([[0], np.cumsum(np.concatenate([np.zeros(0, np.int64), *lengths]))]).astype(np.int64),
        key=key,
    )
    if path is not None:
        _save(samples, path)
    return samples


def _progress(items: Iterable[Any], total: int) -> Iterable[Any]:
    from tqdm.auto import tqdm

    return tqdm(items, total=total, desc="tokenizing", unit=f"×{CHUNK} rows", delay=2, leave=False, disable=None)


def _tokenize_chunk(
    rows: Sequence[ChatRow], tokenizer: Any, chat_format: ChatFormat
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Ids, loss marks and sample lengths of some rows, in one call of the tokenizer."""
    control = ControlTokens(tokenizer, chat_format)
    marked = [row._replace(messages=control.mark(row.messages)) for row in rows]
    parts = [segments(row, tokenizer, chat_format) for row in marked]
    texts = [segment.text for row_parts in parts for segment in row_parts]
    origins = [row.origin for row, row_parts in zip(rows, parts, strict=True) for _ in row_parts]
    encoded = iter(control.encode(texts, origins))
    ids: list[int] = []
    loss: list[np.ndarray] = []
    lengths = np.zeros(len(rows), np.int64)
    for number, row_parts in enumerate(parts):
        for segment, tokens in zip(row_parts, islice(encoded, len(row_parts)), strict=True):
            before = len(ids)
            ids.extend(chain(segment.before, tokens, segment.after))
            loss.append(np.full(len(ids) - before, segment.loss))
            lengths[number] += len(ids) - before
    return np.array(ids, np.int32), np.concatenate([np.zeros(0, bool), *loss]), lengths


def encode_prompts(prompts: Sequence[ChatRow], tokenizer: Any, chat_format: ChatFormat = "esft") -> list[list[int]]:
    """Token ids of conversations up to an answer: exactly those with which a training row of the same turns begins.

    Args:
        prompts: Conversations whose last turn is a user's.
        tokenizer: A `PreTrainedTokenizerBase`.
        chat_format: See `chat`.

    Raises:
        DataError: A conversation cannot be rendered, or its text holds a control token.
    """
    ids, _, lengths = _tokenize_chunk(prompts, tokenizer, chat_format)
    return [part.tolist() for part in np.split(ids, np.cumsum(lengths)[:-1])] if prompts else []


def tokens_key(rows: Iterable[ChatRow], tokenizer: Any, chat_format: ChatFormat) -> str:
    """SHA-256 over what decides the tokens: roles, contents and masks of all rows in order, tokenizer, format."""
    digest = hashlib.sha256(f"{FORMAT_VERSION} {chat_format} {tokenizer_fingerprint(tokenizer)}".encode())
    if chat_format == "template":
        digest.update(str(tokenizer.chat_template).encode())
    for row in rows:
        for message in row.messages:
            content = message["content"].encode()
            digest.update(b"%s %d %d:" % (message["role"].encode(), bool(message.get("mask")), len(content)) + content)
        digest.update(b"\n")
    return digest.hexdigest()


def tokenizer_fingerprint(tokenizer: Any) -> str:
    """Hash of a tokenizer's rules, vocabulary and special ids, wherever it was loaded from."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        rules = json.dumps(sorted(tokenizer.get_vocab().items()))
    else:  # padding and truncation are state of the last call, no rule
        rules = json.dumps(json.loads(backend.to_str()) | {"padding": None, "truncation": None}, sort_keys=True)
    specials = f"{type(tokenizer).__name__} {tokenizer.bos_token_id} {tokenizer.eos_token_id}"
    return hashlib.sha256(f"{specials} {rules}".encode()).hexdigest()


def _load(path: Path, key: str) -> TokenizedSamples | None:
    if not path.exists():
        return None
    try:
        with np.load(path, allow_pickle=False) as stored:
            if str(stored["key"]) != key:
                return None
            return TokenizedSamples(stored["ids"], stored["loss"], stored["offsets"], key, cached=True)
    except (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile, zlib.error, NotImplementedError) as error:
        log.warning("the cached tokens in %s are damaged, and are made anew (%s)", path, error)
        return None


def _save(samples: TokenizedSamples, path: Path) -> None:
    try:
        with whole_file(path) as temporary, temporary.open("wb") as file:
            np.savez(file, ids=samples.ids, loss=samples.loss, offsets=samples.offsets, key=np.array(samples.key))
    except (OSError, FileError) as error:
        raise DataError(f"{path.parent}: the token cache cannot be written ({error}); set cache_dir") from error
