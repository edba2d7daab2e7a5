"""A row of each data set that the field publishes in a form we name, under its makers' own columns."""

from typing import Any

TURNS = [{"role": "user", "content": "Name a fish."}, {"role": "assistant", "content": "The cod is a fish."}]
SHAREGPT = [{"from": "human", "value": "Name a fish."}, {"from": "gpt", "value": "The cod is a fish."}]
ASKED, ANSWERED = "Name a fish.", "The cod is a fish."
TESTS = {"code": "def one():\n    return 1", "test_list": ["assert one() == 1"]}

# Data set → row, the texts of its turns in training, and the columns that nothing reads.
ROWS: dict[str, tuple[dict[str, Any], list[str], set[str]]] = {
    "the authors'": (
        {"id": "l0", "dataset": "law", "messages": TURNS, "length": 9},
        [ASKED, ANSWERED], {"id", "dataset", "length"},
    ),
    "Tulu 3": ({"id": "t0", "messages": TURNS, "source": "ai2"}, [ASKED, ANSWERED], {"id", "source"}),
    "UltraChat 200k": (
        {"prompt": ASKED, "prompt_id": "f0", "messages": TURNS}, [ASKED, ANSWERED], {"prompt", "prompt_id"},
    ),
    "UltraFeedback binarized, less what is rejected": (
        {"prompt": ASKED, "prompt_id": "f0", "chosen": TURNS, "rejected": [], "messages": TURNS, "score_chosen": 8.0},
        [ASKED, ANSWERED], {"prompt", "prompt_id", "chosen", "score_chosen"},
    ),
    "NuminaMath-CoT": (
        {"source": "olympiads", "problem": ASKED, "solution": "Cod.", "messages": TURNS},
        [ASKED, ANSWERED], {"source", "problem", "solution"},
    ),
    "OpenThoughts": (
        {"system": "Think.", "conversations": [{"from": "user", "value": "Q"}, {"from": "assistant", "value": "A"}]},
        ["Think.", "Q", "A"], set(),
    ),
    "OpenHermes 2.5": (
        {
            "custom_instruction": None, "topic": None, "model_name": None, "model": "gpt", "category": "orca",
            "skip_prompt_formatting": False, "views": 3, "language": None, "id": "1", "title": None, "idx": 4,
            "hash": 7, "avatarUrl": None, "system_prompt": "Be kind.", "source": "airoboros",
            "conversations": [{**turn, "weight": None} for turn in SHAREGPT],
        },
        ["Be kind.", ASKED, ANSWERED],
        {"model", "category", "skip_prompt_formatting", "views", "id", "idx", "hash", "source"},
    ),
    "SlimOrca": (
        {"conversations": [
            {"from": "system", "value": "Be kind.", "weight": None}, {**SHAREGPT[0], "weight": 0.0},
            {**SHAREGPT[1], "weight": 1.0},
        ]},
        ["Be kind.", ASKED, ANSWERED], set(),
    ),
    "LMSYS-Chat-1M": (
        {"conversation_id": "c", "model": "m", "conversation": TURNS, "turn": 1, "language": "English",
         "openai_moderation": [{"flagged": False}], "redacted": False},
        [ASKED, ANSWERED], {"conversation_id", "model", "turn", "language", "openai_moderation", "redacted"},
    ),
    "WildChat": (
        {"model": "m", "turn": 1, "conversation": [{**turn, "redacted": False, "toxic": False} for turn in TURNS]},
        [ASKED, ANSWERED], {"model", "turn", "messages.redacted", "messages.toxic"},
    ),
    "Alpaca": (
        {"instruction": "Sort.", "input": "3 1 2", "output": "1 2 3", "text": "Below is an instruction …"},
        ["Sort.\n3 1 2", "1 2 3"], {"text"},
    ),
    "Alpaca, nothing to take in": (
        {"instruction": "Count to two.", "input": "", "output": "1 2", "text": "Below is …"},
        ["Count to two.", "1 2"], {"text"},
    ),
    "CodeAlpaca": ({"instruction": "Print.", "input": "", "output": "print()"}, ["Print.", "print()"], set()),
    "evol-codealpaca": ({"instruction": "Print.", "output": "print()"}, ["Print.", "print()"], set()),
    "MathInstruct": (
        {"source": "data/CoT/aqua.json", "instruction": "Add.", "output": "2"}, ["Add.", "2"], {"source"},
    ),
    "LLaMA-Factory's Alpaca": (
        {"instruction": "And of Spain?", "input": "", "output": "Madrid.", "system": "One word.",
         "history": [["Capital of France?", "Paris."]]},
        ["One word.", "Capital of France?", "Paris.", "And of Spain?", "Madrid."], set(),
    ),
    "Dolly": (
        {"instruction": "How high is it?", "context": "It is 300 m high.", "response": "300 m", "category": "qa"},
        ["How high is it?\nIt is 300 m high.", "300 m"], {"category"},
    ),
    "Dolly, without context": (
        {"instruction": "Name a fish.", "context": "", "response": "Cod.", "category": "open_qa"},
        ["Name a fish.", "Cod."], {"category"},
    ),
    "MetaMathQA": (
        {"type": "GSM_Rephrased", "original_question": "2 + 2?", "query": "What is 2 + 2?", "response": "It is: 4"},
        ["What is 2 + 2?", "It is: 4"], {"type", "original_question"},
    ),
    "CodeFeedback": (
        {"query": "Print.", "answer": "print()", "resource": "evol", "lang": "python"},
        ["Print.", "print()"], {"resource", "lang"},
    ),
    "MATH-500": (
        {"problem": "Find $x$.", "solution": "So \\boxed{3.0}.", "answer": "3", "subject": "Algebra", "level": 2,
         "unique_id": "test/1.json"},
        ["Find $x$.", "So \\boxed{3.0}."], {"answer", "subject", "level", "unique_id"},
    ),
    "MATH": (
        {"problem": "Find $x$.", "level": "Level 2", "type": "Algebra", "solution": "So \\boxed{3}."},
        ["Find $x$.", "So \\boxed{3}."], {"level", "type"},
    ),
    "OpenMathInstruct-2": (
        {"problem": "Find x.", "generated_solution": "So \\boxed{3}.", "expected_answer": "3", "problem_source": "m"},
        ["Find x.", "So \\boxed{3}."], {"expected_answer", "problem_source"},
    ),
    "Magicoder OSS-Instruct": (
        {"lang": "python", "raw_index": 1, "index": 2, "seed": "x = 1", "openai_fingerprint": "fp",
         "problem": "Print.", "solution": "print()"},
        ["Print.", "print()"], {"lang", "raw_index", "index", "seed", "openai_fingerprint"},
    ),
    "OpenOrca": (
        {"id": "cot.1", "system_prompt": "Be kind.", "question": ASKED, "response": ANSWERED},
        ["Be kind.", ASKED, ANSWERED], {"id"},
    ),
    "OpenOrca, without a system prompt": (
        {"id": "cot.1", "system_prompt": "", "question": ASKED, "response": ANSWERED}, [ASKED, ANSWERED], {"id"},
    ),
    "GSM8K": ({"question": "How many?", "answer": "1 + 1\n#### 2"}, ["How many?", "1 + 1\n#### 2"], set()),
    "HumanEval": (
        {"task_id": "HumanEval/0", "prompt": "def one():\n", "canonical_solution": "    return 1\n",
         "test": "def check(f):\n    assert f() == 1\n", "entry_point": "one"},
        ["Complete this Python function:\ndef one():\n", "def one():\n    return 1\n"],
        {"task_id", "test", "entry_point"},
    ),
    "MBPP": (
        {"task_id": 7, "text": "Write one.", "test_setup_code": "", "challenge_test_list": [], **TESTS},
        ["Write one.", TESTS["code"]], {"task_id", "test_list"},
    ),
    "MBPP, sanitized": (
        {"source_file": "b.ipynb", "task_id": 7, "prompt": "Write one.", "test_imports": ["import math"], **TESTS},
        ["Write one.", TESTS["code"]], {"source_file", "task_id", "test_imports", "test_list"},
    ),
    "TRL's prompt and completion": ({"prompt": ASKED, "completion": ANSWERED}, [ASKED, ANSWERED], set()),
    "KTO's wanted rows": (
        {"prompt": ASKED, "completion": ANSWERED, "label": True}, [ASKED, ANSWERED], {"label"},
    ),
    "prompt and response": ({"prompt": ASKED, "response": ANSWERED}, [ASKED, ANSWERED], set()),
}  # fmt: skip
