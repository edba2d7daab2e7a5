"""`TaskDataModule`: one task's rows, from source to loaders. The six tasks are small subclasses beside it.

The way of the rows::

    source → (origin, record) → checked rows → 98/2 split → tokens (cached) → packed rows → loaders
    embedded validation rows ────────────────────────────→ tokens ─────────→ packed rows ↗
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

from esft_lightning.data.chat import ChatFormat, TurnEnd, turn_end
from esft_lightning.data.data_report import PARTS, DataReport, test_report, training_report
from esft_lightning.data.decontamination import NGRAM
from esft_lightning.data.description import description
from esft_lightning.data.few_shot import with_examples
from esft_lightning.data.held_out import without_questions, without_validation
from esft_lightning.data.host_side import known_on_host
from esft_lightning.data.loader import PackedLoader, SampleLoader
from esft_lightning.data.packing import OnOverflow, PackedRows, concatenate, pack
from esft_lightning.data.reading import note, read_rows, wanted
from esft_lightning.data.rows import ChatRow, DataError, OnBadRow, check_messages
from esft_lightning.data.samples import PreparedSamples, check_sample, prepare_samples, prompt_limit
from esft_lightning.data.settings import choose_sources
from esft_lightning.data.sources import HubDataset, Source, choose_dataset, embedded_records, file_records, hub_records
from esft_lightning.data.split import set_aside
from esft_lightning.data.tokenization import TokenizedSamples, tokenize_rows
from esft_lightning.data.validation import EMBEDDED_VAL_ROWS, conversations, embedded_validation, questions
from esft_lightning.moe.tokenizer import context_length, load_tokenizer, padding_id

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
        sample_keys: What the task's scorer or `adapt_sample` reads of an evaluation row besides prompt and references.
        report: Counts of what was read, skipped, cut and packed; filled by `setup` and `test_samples`.
    """

    task: ClassVar[str] = ""
    hub_train: ClassVar[HubDataset | None] = None
    hub_test: ClassVar[HubDataset | None] = None
    sample_keys: ClassVar[frozenset[str]] = frozenset()

    def __init__(
        self,
        source: Source | None = None,
        train_files: str | list[str] | None = None,
        val_files: str | list[str] | None = None,
        test_files: str | list[str] | None = None,
        hub_id: str | None = None,
        hub_config: str | None = None,
        hub_split: str | None = None,
        hub_test_id: str | None = None,
        hub_test_config: str | None = None,
        hub_test_split: str | None = None,
        column_mapping: dict[str, str | None] | None = None,
        test_column_mapping: dict[str, str | None] | None = None,
        train_rows: int | None = None,
        test_rows: int | None = None,
        val_rows: int | None = None,
        embedded_seed: int = 0,
        decontaminate: int | None = None,
        few_shot: int | None = None,
        general_source: Source | None = None,
        general_ratio: float | None = None,
        general_files: str | list[str] | None = None,
        general_hub_id: str | None = None,
        general_hub_split: str = "train",
        general_column_mapping: dict[str, str | None] | None = None,
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
                (`datasets.load_dataset`). Default: what the settings below name, `files` or `hub`; `embedded` where
                they name neither.
            train_files: `source=files`: paths or globs of JSONL training files, `.gz` or plain.
            val_files: Validation files in the same form, whose rows are left out of the training rows; without them a
                part of the training rows is set aside.
            test_files: Evaluation files of `prompt` and `raw_answers`, used by `test` whatever the source is. Without
                any training data beside them, `fit` refuses to train on the embedded rows.
            hub_id: `source=hub`: hub id or local folder of the training data; default: the task's own.
            hub_config: Configuration name of that data set.
            hub_split: Split of that data set, slices allowed (`train[:1000]`); default: the task's, or `train`.
            hub_test_id: Hub id or local folder of the evaluation data, whatever the source is; default: the task's own
                with `source=hub`.
            hub_test_config: Configuration name of that data set.
            hub_test_split: Split of that data set; default: the task's, or `test`.
            column_mapping: How columns become a row, e.g. `{user: question, assistant: answer}`, or with text
                `{user: "Translate: {chr}", assistant: en}`. Also for files. `{tools: null}` leaves a column out that
                would be refused.
            test_column_mapping: The same for evaluation data, e.g. `{prompt: question, raw_answers: answer}`.
            train_rows: At most so many training rows; default: 4,000 embedded ones, all of any other source.
            test_rows: At most so many evaluation rows; default: 100 embedded ones, all of any other source.
            val_rows: How many embedded validation rows; default 200. They have wordings and values of their own.
            embedded_seed: Seed of the embedded generators.
            decontaminate: Leave out training, validation and general rows that are an evaluation question, hold one,
                or share so many words in a row with one; 0 for none. Default: 13 where rows come from files or the hub
                and there are evaluation questions.
            few_shot: Examples from the training rows before each evaluation question, the same for every `seed`.
                Default: none, which leaves prompts as they are. The paper has 16 for intent and translation, 4 for law,
                1 for summary.
            general_source: Where general data comes from, mixed into the training rows; default: what `general_files`
                or `general_hub_id` say, else none.
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
            random_concat_ratio: Probability that a sample packed behind another drops its BOS; its default becomes 0
                when attention stays inside samples, where each needs its own.
            on_overflow: A sample that overflows its packed row keeps its `tail` (the paper's way) or moves whole to the
                `next_row`.
            cross_sample_attention: Let attention cross samples of a packed row (the paper's way), or keep it inside.
            padding_free: Put a batch's rows behind one another without padding.
            val_fraction: Share of the training rows of files or the hub set aside for validation; 0 for none, of
                embedded rows, too.
            seed: Decides batch order, validation split, dropped BOS and drawn general rows.
            profile_seed: Decides the order in which the profile reads the training rows.
            profile_sequences: At most so many packed rows for the profile; default all (the profiler has a budget).
            on_bad_row: `error`: stop at the first bad row, naming file and line. `skip`: leave bad rows out and count.
            on_long_sample: A sample longer than `sequence_length`: `truncate` (keep its tail), `error` or `skip`.
            max_prompt_tokens: Longest evaluation prompt; longer ones lose few-shot examples first. Default: the model's
                positions minus the module's `max_new_tokens`.
            num_workers: Processes that tokenize.
            cache_dir: Folder of cached tokens; null keeps none.

        Raises:
            ValueError: Settings that contradict one another, or one that others make idle.
        """
        given = {name: value for name, value in locals().items() if name not in ("self", "__class__")}
        super().__init__()
        if not self.task:
            raise ValueError("TaskDataModule has no task of its own: use IntentDataModule, LawDataModule, …")
        if sequence_length < 2 or batch_size < 1 or (val_batch_size or 1) < 1 or test_batch_size < 1:
            raise ValueError("sequence_length must be at least 2, batch sizes at least 1")
        if not (0 <= random_concat_ratio <= 1 and 0 <= val_fraction < 1):
            raise ValueError("random_concat_ratio must lie in [0, 1], val_fraction in [0, 1)")
        if min(seed, profile_seed, embedded_seed) < 0:
            raise ValueError(f"seeds must be at least 0, got {min(seed, profile_seed, embedded_seed)}")
        source, general_source = choose_sources(given, hub_test=self.hub_test is not None)
        self.source: Source = source
        self.train_files, self.val_files, self.test_files = train_files, val_files, test_files
        self.column_mapping, self.test_column_mapping = column_mapping, test_column_mapping
        self.hub = choose_dataset(self.hub_train, hub_id, hub_config, hub_split, column_mapping, "train")
        self.hub_evaluation = choose_dataset(
            self.hub_test if source == "hub" else None,
            hub_test_id,
            hub_test_config,
            hub_test_split,
            test_column_mapping,
            "test",
        )
        self.train_rows, self.test_rows, self.embedded_seed = train_rows, test_rows, embedded_seed
        self.val_rows = EMBEDDED_VAL_ROWS if val_rows is None else val_rows
        generated = source == "embedded" and general_source in (None, "embedded") and not val_files
        self.decontaminate = (0 if generated else NGRAM) if decontaminate is None else decontaminate
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
        self._val_rows: list[ChatRow] = []
        self._validation: tuple[int | None, PreparedSamples] | None = None
        self._fingerprint = ""
        self._checked_samples: list[dict[str, Any]] | None = None
        self._positions: tuple[int | None] | None = None  # of the model; None until asked for
        self._turn_end: TurnEnd | None = None
        self._samples: tuple[int | None, PreparedSamples] | None = None

    def __str__(self) -> str:
        """Its settings and the rows that have been read; Lightning's own asks every loader for a data set."""
        return description(self)

    # What Lightning calls

    def prepare_data(self) -> None:
        """Read, check and tokenize once, on one process, so that the others find the tokens in the cache."""
        asked = getattr(getattr(self.trainer, "state", None), "fn", None) in ("test", "predict")
        if self.cache_dir is not None and not asked:
            self._prepare_training()

    def setup(self, stage: str | None = None) -> None:
        """Read what `stage` needs; a second call does nothing new."""
        if stage in ("fit", "validate", None):
            self._prepare_training()
            if self.test_files:
                self._read_samples()  # an error in them must not wait until training is done
        if stage in ("test", "predict"):
            _ = self.test_samples

    def on_before_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        """Find out on the host what a step would else have to ask the device for; pinned memory on CUDA."""
        return known_on_host(batch, pin=self.trainer is not None and self.trainer.strategy.root_device.type == "cuda")

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
        return SampleLoader(self.test_samples, self.test_batch_size, *self._place(), self._prepared().prompt_ids)

    def predict_dataloader(self) -> SampleLoader:
        """The same samples as for `test`."""
        return self.test_dataloader()

    def validation_sample_loader(self, limit: int | None = None) -> SampleLoader:
        """The validation rows as questions, in batches `{"samples": [...]}`, to be answered and scored.

        Args:
            limit: So many of them, the first ones; None for all.

        Raises:
            DataError: There are none.
        """
        if not self.validation_samples:
            raise DataError(f"{self.task}: no validation row is a question with one answer; set val_files")
        asked = self._prepared_validation()
        return SampleLoader(asked.samples[:limit], self.test_batch_size, *self._place(), asked.prompt_ids[:limit])

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
        return self._prepared().samples

    @property
    def validation_samples(self) -> list[dict[str, Any]]:
        """The validation rows as `test_samples` are; rows that are no question with one answer are left out.

        Embedded rows hold all that their scorer needs; of code's rows from files the tests are not known.
        """
        return self._prepared_validation().samples

    @property
    def training_answers(self) -> list[str]:
        """The last answer of every training row: what baselines that understand nothing draw from."""
        return [str(row.messages[-1]["content"]) for row in self._training_rows()]

    @property
    def turn_end(self) -> TurnEnd:
        """Where an answer in the chat format ends; a text that a reference holds is no sign of it."""
        if self._turn_end is None:
            end = self._trained_end()
            references = [answer for sample in self._read_samples() for answer in sample["raw_answers"]]
            kept = tuple(text for text in end.texts if not any(text in answer for answer in references))
            for text in end.texts if self._place()[0] == 0 else ():
                if text in kept:
                    continue
                log.warning("answers are not cut at %r, which opens a turn: references hold it, too", text)
            self._turn_end = end._replace(texts=kept)
        return self._turn_end

    def _trained_end(self) -> TurnEnd:
        """How the chat format ends an answer, with a warning where it does not."""
        end = turn_end(self.tokenizer, self.chat_format)
        if not end.trained and self._place()[0] == 0:
            log.warning(
                "this chat template writes nothing behind an answer, so that training teaches no end: answers run on "
                "to the model's own end token, to what opens the next turn, or to max_new_tokens; use "
                "chat_format=esft, or a template that ends a turn with a token"
            )
        return end

    # Reading

    def _prepare_training(self) -> None:
        if self._train is not None:
            return
        started = time.perf_counter()
        rows = self._clean(self._training_rows())
        if self.val_files:
            val = self._read("files", self.val_files, None, self.column_mapping, None, "val_files")
            val = self._clean(val, "validation")
            rows = without_validation(rows, val, "training", self.report)
            self.report |= {"train_rows": len(rows), "val_rows": len(val)}
        elif self.source == "embedded":
            val = conversations(self._embedded_validation())
            self.report["val_rows"] = len(val)
        else:
            rows, val = self._split(rows)
        self._val_rows = val
        task_rows = self._pack(rows, "train")
        parts = [task_rows]
        if self.general_source is not None and self.general_ratio > 0 and (rows := self._read_general(len(rows), val)):
            parts.append(self._pack(rows, "general"))
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
        self._trained_end()
        self._say(training_report(self.report, self.sequence_length, self.on_overflow, self.batch_size, self.trainer))

    def _embedded_validation(self) -> list[tuple[str, dict[str, Any]]]:
        return embedded_validation(self.task, self.val_rows, self.embedded_seed) if self.val_fraction else []

    def _training_rows(self) -> list[ChatRow]:
        if self.source == "files" and self.train_files is None:
            raise DataError(
                f"{self.task}: there are no training rows beside val_files or test_files; set train_files or hub_id, "
                "or source=embedded to train on the embedded rows"
            )
        return self._read(self.source, self.train_files, self.hub, self.column_mapping, self.train_rows, "train_files")

    def _clean(self, rows: list[ChatRow], what: str = "training") -> list[ChatRow]:
        """Leave out what is evaluated on."""
        if not self.decontaminate or not (questions := self._read_samples()):
            return rows
        prompts = [sample["prompt"] for sample in questions]
        return without_questions(rows, prompts, self.decontaminate, what, self.report, aloud=self._place()[0] == 0)

    def _read(
        self,
        source: Source,
        files: str | list[str] | None,
        hub: HubDataset | None,
        mapping: Mapping[str, str | None] | None,
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
        name = what.removesuffix("_files")
        if not generator:
            records = wanted(records, self.wants, self.report, name)
        reading = read_rows(records, check_messages, self.on_bad_row, mapping)
        note(reading, self.report, name, aloud=self._place()[0] == 0)
        rows = reading.rows
        if not rows:
            raise DataError(
                f"{self.task}: no usable row in {files or source} ({len(reading.skipped)} bad rows skipped)"
            )
        if limit is not None:
            rows = rows[:limit]
        self.report["train_rows" if what == "train_files" else f"{what}_rows"] = len(rows)
        return rows

    def _split(self, rows: list[ChatRow]) -> tuple[list[ChatRow], list[ChatRow]]:
        """Set aside `val_fraction` of the rows (see `split`); both parts keep the file's order."""
        aside = set_aside(rows, self.val_fraction, self.seed)
        train = [row for number, row in enumerate(rows) if number not in aside]
        self.report |= {"train_rows": len(train), "val_rows": len(aside)}
        if self.val_fraction and not aside and len(rows) > 1 and self._place()[0] == 0:
            log.warning(
                "nothing validates: every conversation stands in the rows more often than val_fraction=%s of them, and "
                "none may both train and validate; give val_files, or raise val_fraction", self.val_fraction
            )  # fmt: skip
        return train, [row for number, row in enumerate(rows) if number in aside]

    def _read_general(self, task_rows: int, val: list[ChatRow]) -> list[ChatRow]:
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
        rows = without_validation(self._clean(rows, "general"), val, "general", self.report)
        if len(rows) < wanted:
            log.warning("general data: %d rows where general_ratio wants %d; all are used", len(rows), wanted)
        drawn = np.random.default_rng([self.seed, 4]).permutation(len(rows))[:wanted]
        self.report["general_rows"] = len(drawn)
        return [rows[number] for number in sorted(drawn.tolist())]

    def _pack(self, rows: list[ChatRow], what: str) -> PackedRows:
        samples = tokenize_rows(rows, self.tokenizer, self.chat_format, self.cache_dir, self.num_workers)
        samples, rows = self._drop_long(samples, rows)
        unlabelled = samples.without_label
        packed = pack(
            samples,
            self.sequence_length,
            bos_id=self.tokenizer.bos_token_id,
            random_concat_ratio=self.random_concat_ratio,
            seed=self.seed,
            on_overflow=self.on_overflow,
        )
        if packed.labelled_tokens == 0:
            raise DataError(
                f"{self.task}: no token of the {PARTS[what]} rows has a label, so there is nothing to learn from them: "
                'every assistant turn is masked ("mask": 1), or its answer was cut away; unmask some, or raise '
                "sequence_length"
            )
        self.report |= {
            f"{what}_samples": len(samples),
            f"{what}_without_label": unlabelled,
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
        elif self.hub_evaluation is not None:
            records, mapping = hub_records(self.hub_evaluation), self.hub_evaluation.column_mapping
        elif self.source == "embedded":
            count = EMBEDDED_TEST_ROWS if self.test_rows is None else self.test_rows
            records, mapping = embedded_records(self.task, "test", count, self.embedded_seed), None
        else:
            return []
        reading = read_rows(records, self._check_sample, self.on_bad_row, mapping, "test", self.sample_keys)
        note(reading, self.report, "test", aloud=self._place()[0] == 0)
        rows = reading.rows[: self.test_rows]
        self._checked_samples = rows
        return rows

    def _with_examples(self, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Put `few_shot` training rows before every question; each question draws its own."""
        if not self.few_shot:
            return rows
        solved = [
            row.messages
            for row in self._clean(self._training_rows())
            if len(row.messages) == 2 and not row.messages[1].get("mask")
        ]
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
        except ValueError as error:  # a scorer's own names no place
            raise DataError(str(error) if str(error).startswith(origin) else f"{origin}: {error}") from error

    def _prepared(self) -> PreparedSamples:
        """The samples as they are asked: examples before them, fitted to the context, in the chat format."""
        rows = self._read_samples()
        if not rows:
            return PreparedSamples([], [], {})
        limit = self._prompt_limit()
        if self._samples is None or self._samples[0] != limit:
            prepared = prepare_samples(self._with_examples(rows), self.tokenizer, self.chat_format, limit)
            self._samples = limit, prepared
            self.report |= {"test_rows": len(rows), "max_prompt_tokens": limit, **prepared.counts}
            self._say(test_report(self.report))
        return self._samples[1]

    def _prepared_validation(self) -> PreparedSamples:
        """The validation rows as they are asked."""
        if self.source == "embedded" and not self.val_files:
            rows = [sample for _, sample in self._embedded_validation()]
        else:
            self._prepare_training()
            rows = questions(self._val_rows)
        limit = self._prompt_limit()
        if self._validation is None or self._validation[0] != limit:
            self._validation = (
                limit,
                prepare_samples(self._with_examples(rows), self.tokenizer, self.chat_format, limit),
            )
        return self._validation[1]

    def _prompt_limit(self) -> int | None:
        if self._positions is None:
            self._positions = (context_length(self.tokenizer_base, self.tokenizer, self.revision),)
        module = getattr(self.trainer, "lightning_module", None)
        return prompt_limit(self.max_prompt_tokens, *self._positions, getattr(module, "max_new_tokens", None))

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

    def _say(self, report: DataReport) -> None:
        if self._place()[0] == 0:
            log.info("%s", report.table)
            for warning in report.warnings:
                log.warning("%s", warning)


def _require(hub: HubDataset | None, task: str, setting: str) -> HubDataset:
    if hub is None:
        raise DataError(f"{task}: source=hub has no default data set here; set {setting}")
    return hub
