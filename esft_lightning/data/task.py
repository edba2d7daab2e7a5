"""`TaskDataModule`: one task's rows, from source to loaders. The six tasks are small subclasses beside it.

The way of the rows::

    source → (origin, record) → checked rows → 98/2 split → tokens (cached) → packed rows → loaders
                                general rows ────────────→ tokens ─────────→ packed rows ↗ (training only)

General data is packed on its own and joins the task's packed rows in the training order; so the profile and the
validation never see it, and the task's own packed rows are the same with and without it.
"""

import hashlib
import logging
import time
from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import numpy as np
from lightning.pytorch import LightningDataModule

from esft_lightning.data.chat import ChatFormat
from esft_lightning.data.decontamination import NGRAM, contaminated
from esft_lightning.data.description import description
from esft_lightning.data.few_shot import with_examples
from esft_lightning.data.loader import PackedLoader, SampleLoader
from esft_lightning.data.packing import OnOverflow, PackedRows, concatenate, pack
from esft_lightning.data.rows import ChatRow, DataError, OnBadRow, check_messages, read_rows
from esft_lightning.data.samples import check_sample, prepare_samples
from esft_lightning.data.sources import HubDataset, Source, choose_dataset, embedded_records, file_records, hub_records
from esft_lightning.data.tokenization import TokenizedSamples, tokenize_rows
from esft_lightning.data.tokenizer import context_length, load_tokenizer, padding_id

log = logging.getLogger(__name__)

EMBEDDED_TRAIN_ROWS = 4_000
EMBEDDED_TEST_ROWS = 100
FEW_SHOT_SEED = 5934875  # not the run's: base and tuned runs of all seeds are asked alike


class TaskDataModule(LightningDataModule):
    """Data of one fine-tuning task; use one of its subclasses.

    Attributes:
        task: Name of the task: its embedded generator, its scorer, its place in metric names.
        hub_train: Default training data of `source=hub`; None where the task has none.
        hub_test: Default evaluation data of `source=hub`.
        report: Counts of what was read, skipped, cut and packed; filled by `setup` and `test_samples`.
    """

    task: ClassVar[str] = ""
    hub_train: ClassVar[HubDataset | None] = None
    hub_test: ClassVar[HubDataset | None] = None

    def __init__(
        self,
        source: Source = "embedded",
        train_files: str | list[str] | None = None,
        val_files: str | list[str] | None = None,
        test_files: str | list[str] | None = None,
        hub_id: str | None = None,
        hub_config: str | None = None,
        hub_split: str | None = None,
        hub_test_id: str | None = None,
        hub_test_config: str | None = None,
        hub_test_split: str | None = None,
        column_mapping: dict[str, str] | None = None,
        test_column_mapping: dict[str, str] | None = None,
        train_rows: int | None = None,
        test_rows: int | None = None,
        embedded_seed: int = 0,
        decontaminate: int | None = None,
        few_shot: int | None = None,
        general_source: Source | None = None,
        general_ratio: float | None = None,
        general_files: str | list[str] | None = None,
        general_hub_id: str | None = None,
        general_hub_split: str = "train",
        general_column_mapping: dict[str, str] | None = None,
        tokenizer: str = "tiny",
        revision: str | None = None,
        trust_remote_code: bool = False,
        chat_format: ChatFormat = "esft",
        sequence_length: int = 512,
        batch_size: int = 4,
        val_batch_size: int | None = None,
        test_batch_size: int = 32,
        random_concat_ratio: float = 0.2,
        on_overflow: OnOverflow = "tail",
        cross_sample_attention: bool = True,
        padding_free: bool = False,
        val_fraction: float = 0.02,
        seed: int = 5934875,
        profile_seed: int = 0,
        profile_sequences: int | None = None,
        on_bad_row: OnBadRow = "error",
        on_long_sample: Literal["truncate", "error", "skip"] = "truncate",
        max_prompt_tokens: int | None = None,
        num_workers: int = 0,
        cache_dir: str | None = ".cache/tokens",
    ) -> None:
        """Set up a task's data; nothing is read before `setup`.

        Args:
            source: Where rows come from: `embedded` (generated, offline), `files` (JSONL of `messages`) or `hub`
                (`datasets.load_dataset`).
            train_files: `source=files`: paths or globs of JSONL training files, `.gz` or plain.
            val_files: Validation files in the same form; without them a part of the training rows is set aside.
            test_files: Evaluation files of `prompt` and `raw_answers`, used by `test` whatever the source is.
            hub_id: `source=hub`: hub id or local folder of the training data; default: the task's own.
            hub_config: Configuration name of that data set.
            hub_split: Split of that data set, slices allowed (`train[:1000]`); default: the task's, or `train`.
            hub_test_id: Hub id or local folder of the evaluation data; default: the task's own.
            hub_test_config: Configuration name of that data set.
            hub_test_split: Split of that data set; default: the task's, or `test`.
            column_mapping: How columns become a row, e.g. `{user: question, assistant: answer}`, or with text
                `{user: "Translate: {chr}", assistant: en}`. Also for files.
            test_column_mapping: The same for evaluation data, e.g. `{prompt: question, raw_answers: answer}`.
            train_rows: At most so many training rows; default: 4,000 embedded ones, all of any other source.
            test_rows: At most so many evaluation rows; default: 100 embedded ones, all of any other source.
            embedded_seed: Seed of the embedded generators.
            decontaminate: Leave out training rows that share so many words in a row with an evaluation question; 0 for
                none. Default: 13 where rows come from files or the hub and there are evaluation questions.
            few_shot: Examples from the training rows before each evaluation question, the same for every `seed`.
                Default: none, which leaves prompts as they are. The paper has 16 for intent and translation, 4 for law,
                1 for summary.
            general_source: Where general data comes from, mixed into the training rows; default: none.
            general_ratio: General rows for each task row; default 1.0 (the paper's) with a `general_source`, else 0.
            general_files: `general_source=files`: its files.
            general_hub_id: `general_source=hub`: its hub id or local folder.
            general_hub_split: Its split.
            general_column_mapping: Its column mapping.
            tokenizer: The base model's hub id or folder, or `tiny`.
            revision: Hub revision of the tokenizer.
            trust_remote_code: Let the tokenizer's repository run its own Python.
            chat_format: `esft` (`User: …`, the authors' format) or `template` (the tokenizer's chat template).
            sequence_length: Tokens of a packed row.
            batch_size: Packed rows of a training batch, all processes together (one accumulation step).
            val_batch_size: The same for validation and profiling; default: `batch_size`.
            test_batch_size: Evaluation samples generated at once on a process.
            random_concat_ratio: Probability that a sample packed behind another drops its BOS; never when attention
                stays inside samples, where each needs its own.
            on_overflow: A sample that overflows its packed row keeps its `tail` (the paper's way) or moves whole to the
                `next_row`.
            cross_sample_attention: Let attention cross samples of a packed row (the paper's way), or keep it inside.
            padding_free: Put a batch's rows behind one another without padding.
            val_fraction: Share of the training rows set aside for validation; 0 for none.
            seed: Decides batch order, validation split, dropped BOS and drawn general rows.
            profile_seed: Decides the order in which the profile reads the training rows.
            profile_sequences: At most so many packed rows for the profile; default all (the profiler has a budget).
            on_bad_row: `error`: stop at the first bad row, naming file and line. `skip`: leave bad rows out and count.
            on_long_sample: A sample longer than `sequence_length`: `truncate` (keep its tail), `error` or `skip`.
            max_prompt_tokens: Longest evaluation prompt; longer ones lose few-shot examples first. Default: the model's
                positions minus room for an answer.
            num_workers: Processes that tokenise.
            cache_dir: Folder of cached tokens; null keeps none.

        Raises:
            ValueError: Settings that contradict one another.
        """
        super().__init__()
        if not self.task:
            raise ValueError("TaskDataModule has no task of its own: use IntentDataModule, LawDataModule, …")
        if sequence_length < 2 or batch_size < 1 or (val_batch_size or 1) < 1 or test_batch_size < 1:
            raise ValueError("sequence_length must be at least 2, batch sizes at least 1")
        if not (0 <= random_concat_ratio <= 1 and 0 <= val_fraction < 1):
            raise ValueError("random_concat_ratio must lie in [0, 1], val_fraction in [0, 1)")
        if min(seed, profile_seed, embedded_seed) < 0:
            raise ValueError(f"seeds must be at least 0, got {min(seed, profile_seed, embedded_seed)}")
        if source == "files" and not train_files:
            raise ValueError("source=files needs train_files, e.g. --data.train_files 'data/*.jsonl'")
        if general_ratio and general_source is None:
            raise ValueError("general_ratio needs a general_source: embedded, files or hub")
        self.source: Source = source
        self.train_files, self.val_files, self.test_files = train_files, val_files, test_files
        self.column_mapping, self.test_column_mapping = column_mapping, test_column_mapping
        self.hub = choose_dataset(self.hub_train, hub_id, hub_config, hub_split, column_mapping, "train")
        self.hub_evaluation = choose_dataset(
            self.hub_test, hub_test_id, hub_test_config, hub_test_split, test_column_mapping, "test"
        )
        self.train_rows, self.test_rows, self.embedded_seed = train_rows, test_rows, embedded_seed
        self.decontaminate = (0 if source == "embedded" else NGRAM) if decontaminate is None else decontaminate
        self.few_shot = few_shot or 0
        self.general_source: Source | None = general_source
        self.general_ratio = (1.0 if general_source else 0.0) if general_ratio is None else general_ratio
        self.general_files, self.general_column_mapping = general_files, general_column_mapping
        self.general_hub = choose_dataset(
            None, general_hub_id, None, general_hub_split, general_column_mapping, "train"
        )
        self.tokenizer_base, self.revision, self.trust_remote_code = tokenizer, revision, trust_remote_code
        self.chat_format: ChatFormat = chat_format
        self.sequence_length = sequence_length
        self.batch_size, self.val_batch_size = batch_size, val_batch_size or batch_size
        self.test_batch_size = test_batch_size
        self.random_concat_ratio = random_concat_ratio if cross_sample_attention else 0.0
        self.on_overflow: OnOverflow = on_overflow
        self.cross_sample_attention, self.padding_free = cross_sample_attention, padding_free
        self.val_fraction = val_fraction
        self.seed, self.profile_seed, self.profile_sequences = seed, profile_seed, profile_sequences
        self.on_bad_row: OnBadRow = on_bad_row
        self.on_long_sample = on_long_sample
        self.max_prompt_tokens = max_prompt_tokens
        self.num_workers, self.cache_dir = num_workers, cache_dir
        self.report: dict[str, Any] = {"task": self.task, "source": source}
        self._tokenizer: Any = None
        self._task_rows: PackedRows | None = None
        self._train: PackedRows | None = None
        self._val: PackedRows | None = None
        self._fingerprint = ""
        self._checked_samples: list[dict[str, Any]] | None = None
        self._samples: list[dict[str, Any]] | None = None

    def __str__(self) -> str:
        """Its settings and the rows that have been read; Lightning's own asks every loader for a data set."""
        return description(self)

    # What Lightning calls

    def prepare_data(self) -> None:
        """Read, check and tokenise once, on one process, so that the others find the tokens in the cache."""
        if self.cache_dir is not None:
            self._prepare_training()

    def setup(self, stage: str | None = None) -> None:
        """Read what `stage` needs; a second call does nothing new."""
        if stage in ("fit", "validate", None):
            self._prepare_training()
            if self.test_files:
                self._read_samples()  # an error in them must not wait until training is done
        if stage in ("test", "predict"):
            _ = self.test_samples

    def train_dataloader(self) -> PackedLoader:
        """The stateful loader of the training rows, general data among them; order by (seed, epoch)."""
        return self._loader(self._rows(self._train), self.batch_size, seed=self.seed, shuffle=True)

    def val_dataloader(self) -> PackedLoader | list[Any]:
        """The validation rows in their order; an empty list where none were set aside."""
        self._prepare_training()
        return [] if self._val is None else self._loader(self._val, self.val_batch_size)

    def profile_dataloader(self) -> PackedLoader:
        """The task's own packed training rows, no general data, in the order of `profile_seed`."""
        rows = self._rows(self._task_rows)
        order = np.random.default_rng([self.profile_seed, 2]).permutation(len(rows))
        return self._loader(rows, self.val_batch_size, index=order[: self.profile_sequences])

    def test_dataloader(self) -> SampleLoader:
        """Evaluation samples in batches `{"samples": [...]}`.

        Raises:
            DataError: There are none.
        """
        if not self.test_samples:
            raise DataError(f"{self.task}: no evaluation samples with source={self.source}; set test_files")
        return SampleLoader(self.test_samples, self.test_batch_size, *self._place())

    def predict_dataloader(self) -> SampleLoader:
        """The same samples as for `test`."""
        return self.test_dataloader()

    def wants(self, record: Mapping[str, Any]) -> bool:
        """Whether a training record, as it was published, is of this task; tasks may override."""
        return True

    def adapt_sample(self, record: Mapping[str, Any]) -> dict[str, Any]:
        """Bring one evaluation record, after `test_column_mapping`, into the form of `samples`; tasks may override."""
        return dict(record)

    # What others ask for

    @property
    def tokenizer(self) -> Any:
        """The base model's tokenizer."""
        if self._tokenizer is None:
            self._tokenizer = load_tokenizer(self.tokenizer_base, self.revision, self.trust_remote_code)
        return self._tokenizer

    @property
    def data_fingerprint(self) -> str:
        """Hash of the task's packed training rows (ids, labels, borders) and of the profile's order.

        General data is not in it, since no profile sees it; `report["training_fingerprint"]` covers all that trains.
        """
        self._prepare_training()
        return self._fingerprint

    @property
    def reading(self) -> dict[str, Any]:
        """How a model reads the packed rows of a profile, besides what is in them."""
        return {
            "cross_sample_attention": self.cross_sample_attention,
            "padding_free": self.padding_free,
            "batch_size": self.val_batch_size,  # whole batches are counted until the budget is reached
        }

    @property
    def test_samples(self) -> list[dict[str, Any]]:
        """Evaluation samples: `prompt` (fitted to the context, in the chat format, without BOS), `raw_answers`, extras.

        Empty where the source has none.
        """
        if self._samples is None:
            self._samples = self._fit_samples(self._read_samples())
        return self._samples

    # Reading

    def _prepare_training(self) -> None:
        if self._train is not None:
            return
        started = time.perf_counter()
        rows = self._clean(self._training_rows())
        if self.val_files:
            val = self._read("files", self.val_files, None, self.column_mapping, None, "val_files")
            self.report["val_rows"] = len(val)
        else:
            rows, val = self._split(rows)
        task_rows = self._pack(rows, "train")
        parts = [task_rows]
        if self.general_source is not None and self.general_ratio > 0:
            parts.append(self._pack(self._read_general(len(rows)), "general"))
        self._task_rows = task_rows
        self._val = self._pack(val, "val") if val else None
        train = concatenate(parts) if len(parts) > 1 else task_rows
        whole = task_rows.fingerprint()
        order = f"{whole} {self.profile_seed} {self.profile_sequences}"
        self._fingerprint = hashlib.sha256(order.encode()).hexdigest()
        self.report |= {
            "training_fingerprint": train.fingerprint() if len(parts) > 1 else whole,
            "prepare_seconds": round(time.perf_counter() - started, 3),
        }
        self._train = train
        self._say(
            "%(train_rows)s training rows → %(train_packed)s packed rows (%(train_tokens)s tokens, %(train_labelled)s "
            "with a label); %(val_rows)s validation rows; %(general_rows)s general rows; "
            "%(train_cut)s samples cut at the end of a packed row, %(long_samples)s of them longer than a row; "
            "%(skipped_rows)s bad rows and %(skipped_long)s long samples skipped"
        )

    def _training_rows(self) -> list[ChatRow]:
        return self._read(self.source, self.train_files, self.hub, self.column_mapping, self.train_rows, "train_files")

    def _clean(self, rows: list[ChatRow]) -> list[ChatRow]:
        """Leave out the rows that hold an evaluation question or a part of it, and say which."""
        if not self.decontaminate or not (questions := self._read_samples()):
            return rows
        texts = ("\n".join(str(message["content"]) for message in row.messages) for row in rows)
        found = contaminated(texts, [sample["prompt"] for sample in questions], self.decontaminate)
        examples = [
            f"{rows[hit.row].origin} shares with evaluation question {hit.question + 1}: {hit.shared}" for hit in found
        ]
        self.report |= {"contaminated_rows": len(found), "contaminated_examples": examples[:5]}
        for example in examples[:5]:
            log.warning("left out: %s", example)
        dropped = {hit.row for hit in found}
        if len(dropped) == len(rows):
            raise DataError(
                f"{self.task}: every training row shares {self.decontaminate} words in a row with an evaluation "
                "question; are these the evaluation rows? Set decontaminate=0 to train on them"
            )
        return [row for number, row in enumerate(rows) if number not in dropped]

    def _read(
        self,
        source: Source,
        files: str | list[str] | None,
        hub: HubDataset | None,
        mapping: Mapping[str, str] | None,
        limit: int | None,
        what: str,
        generator: str | None = None,
    ) -> list[ChatRow]:
        if source == "embedded":
            count = EMBEDDED_TRAIN_ROWS if limit is None else limit
            records = embedded_records(generator or self.task, "train", count, self.embedded_seed)
            mapping = None
        elif source == "files":
            records = file_records(files or [], what)
        else:
            dataset = _require(hub, self.task, "general_hub_id" if generator else "hub_id")
            records, mapping = hub_records(dataset), dataset.column_mapping
        if not generator:
            records = (entry for entry in records if isinstance(entry[1], DataError) or self.wants(entry[1]))
        rows, skipped = read_rows(records, check_messages, self.on_bad_row, mapping)
        self._count_skipped(skipped)
        if not rows:
            raise DataError(f"{self.task}: no usable row in {files or source} ({len(skipped)} bad rows skipped)")
        if limit is not None:
            rows = rows[:limit]
        self.report["train_rows" if what == "train_files" else f"{what}_rows"] = len(rows)
        return rows

    def _count_skipped(self, skipped: list[str]) -> None:
        self.report["skipped_rows"] = self.report.get("skipped_rows", 0) + len(skipped)
        self.report["skipped_examples"] = [*self.report.get("skipped_examples", []), *skipped][:5]
        for message in skipped[:5]:
            log.warning("skipped: %s", message)

    def _split(self, rows: list[ChatRow]) -> tuple[list[ChatRow], list[ChatRow]]:
        """Set aside `val_fraction` of the rows (at least one, where there are two); both keep the file's order."""
        count = max(1, round(len(rows) * self.val_fraction)) if self.val_fraction and len(rows) > 1 else 0
        aside = set(np.random.default_rng([self.seed, 3]).permutation(len(rows))[:count].tolist())
        train = [row for number, row in enumerate(rows) if number not in aside]
        self.report |= {"train_rows": len(train), "val_rows": count}
        return train, [row for number, row in enumerate(rows) if number in aside]

    def _read_general(self, task_rows: int) -> list[ChatRow]:
        source: Source = self.general_source or "embedded"
        wanted = round(self.general_ratio * task_rows)
        limit = wanted if source == "embedded" else None
        rows = self._read(
            source,
            self.general_files,
            self.general_hub,
            self.general_column_mapping,
            limit,
            "general",
            "general",
        )
        if len(rows) < wanted:
            log.warning("general data: %d rows where general_ratio wants %d; all are used", len(rows), wanted)
        drawn = np.random.default_rng([self.seed, 4]).permutation(len(rows))[:wanted]
        self.report["general_rows"] = len(drawn)
        return [rows[number] for number in sorted(drawn.tolist())]

    def _pack(self, rows: list[ChatRow], what: str) -> PackedRows:
        samples = tokenize_rows(rows, self.tokenizer, self.chat_format, self.cache_dir, self.num_workers)
        samples, rows = self._drop_long(samples, rows)
        packed = pack(
            samples,
            self.sequence_length,
            bos_id=self.tokenizer.bos_token_id,
            random_concat_ratio=self.random_concat_ratio,
            seed=self.seed,
            on_overflow=self.on_overflow,
        )
        self.report |= {
            f"{what}_packed": len(packed),
            f"{what}_tokens": packed.tokens,
            f"{what}_labelled": packed.labelled_tokens,
            f"{what}_cut": packed.cut_samples,
            f"{what}_dropped_bos": packed.dropped_bos,
            f"{what}_tokens_cached": samples.cached,
        }
        return packed

    def _drop_long(self, samples: TokenizedSamples, rows: list[ChatRow]) -> tuple[TokenizedSamples, list[ChatRow]]:
        long = np.flatnonzero(samples.lengths > self.sequence_length)
        self.report["long_samples"] = self.report.get("long_samples", 0) + len(long)
        self.report.setdefault("skipped_long", 0)
        if len(long) == 0 or self.on_long_sample == "truncate":
            return samples, rows
        if self.on_long_sample == "error":
            first = int(long[0])
            raise DataError(
                f"{rows[first].origin}: {samples.lengths[first]} tokens, more than sequence_length="
                f"{self.sequence_length} ({len(long)} such samples); raise it, or set on_long_sample"
            )
        self.report["skipped_long"] += len(long)
        if len(long) == len(samples):
            raise DataError(
                f"{self.task}: every sample is longer than sequence_length={self.sequence_length}; raise it"
            )
        dropped = set(long.tolist())
        kept = samples.keep(samples.lengths <= self.sequence_length)
        return kept, [row for number, row in enumerate(rows) if number not in dropped]

    def _read_samples(self) -> list[dict[str, Any]]:
        """Read and check the evaluation records, once."""
        if self._checked_samples is not None:
            return self._checked_samples
        mapping = self.test_column_mapping
        if self.test_files:
            records = file_records(self.test_files, "test_files")
        elif self.source == "embedded":
            count = EMBEDDED_TEST_ROWS if self.test_rows is None else self.test_rows
            records, mapping = embedded_records(self.task, "test", count, self.embedded_seed), None
        elif self.source == "hub" and self.hub_evaluation is not None:
            records, mapping = hub_records(self.hub_evaluation), self.hub_evaluation.column_mapping
        else:
            return []
        rows, skipped = read_rows(records, self._check_sample, self.on_bad_row, mapping, "test")
        self._count_skipped(skipped)
        rows = rows[: self.test_rows]
        self._checked_samples = rows
        return rows

    def _with_examples(self, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Put `few_shot` training rows before every question; each question draws its own."""
        if not self.few_shot:
            return rows
        solved = [row.messages for row in self._clean(self._training_rows()) if len(row.messages) == 2]
        if len(solved) < self.few_shot:
            raise DataError(
                f"{self.task}: few_shot={self.few_shot}, and {len(solved)} training rows are one question and one "
                "answer; lower few_shot"
            )
        prompts = []
        for number, row in enumerate(rows):
            drawn = np.random.default_rng([FEW_SHOT_SEED, number]).choice(len(solved), self.few_shot, replace=False)
            pairs = [(solved[n][0]["content"], solved[n][1]["content"]) for n in drawn]
            prompts.append(with_examples(row["prompt"], pairs))
        return [row | {"prompt": prompt} for row, prompt in zip(rows, prompts, strict=True)]

    def _check_sample(self, record: Mapping[str, Any], origin: str) -> dict[str, Any]:
        try:
            return check_sample(self.adapt_sample(record), origin)
        except DataError:
            raise
        except ValueError as error:
            raise DataError(f"{origin}: {error}") from error

    def _fit_samples(self, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Shorten prompts that exceed the context, put them into the chat format, and say so."""
        if not rows:
            return []
        rows = self._with_examples(rows)
        limit = self.max_prompt_tokens
        if limit is None:
            positions = context_length(self.tokenizer_base, self.tokenizer, self.revision)
            limit = None if positions is None else positions - min(512, positions // 4)
        samples, counts = prepare_samples(rows, self.tokenizer, self.chat_format, limit)
        self.report |= {"test_rows": len(samples), "max_prompt_tokens": limit, **counts}
        if counts["shortened_prompts"]:
            self._say(
                "%(shortened_prompts)s of %(test_rows)s evaluation prompts exceed %(max_prompt_tokens)s tokens: "
                "%(dropped_examples)s few-shot examples dropped, %(cut_questions)s questions cut at their head"
            )
        return samples

    # Loaders

    def _rows(self, rows: PackedRows | None) -> PackedRows:
        self._prepare_training()
        found = self._train if rows is None else rows
        if found is None:
            raise DataError(f"{self.task}: no training rows")
        return found

    def _place(self) -> tuple[int, int]:
        """(rank, number of processes)."""
        return (0, 1) if self.trainer is None else (self.trainer.global_rank, self.trainer.world_size)

    def _loader(self, rows: PackedRows, batch_size: int, **options: Any) -> PackedLoader:
        rank, world_size = self._place()
        return PackedLoader(
            rows,
            batch_size,
            pad_id=padding_id(self.tokenizer),
            rank=rank,
            world_size=world_size,
            cross_sample_attention=self.cross_sample_attention,
            padding_free=self.padding_free,
            **options,
        )

    def _say(self, text: str) -> None:
        if self._place()[0] == 0:
            log.info("%s data: %s", self.task, text % {"general_rows": 0, **self.report})


def _require(hub: HubDataset | None, task: str, setting: str) -> HubDataset:
    if hub is None:
        raise DataError(f"{task}: source=hub has no default data set here; set {setting}")
    return hub
