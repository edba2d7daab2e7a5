r"""Chat templates as model makers publish them, and tokenizers of this folder's own that know their tokens.

Each template with the tokens that it needs besides `<s>` and `</s>`, and how it ends an answer: the tokens by which a
turn ends or opens, and the texts that do.
"""

from typing import NamedTuple

from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers
from transformers import PreTrainedTokenizerFast


class Template(NamedTuple):
    """A template, its own special tokens, and what ends an answer in it."""

    text: str
    tokens: tuple[str, ...]
    ends: tuple[str, ...]
    stops: tuple[str, ...] = ()


TEMPLATES = {
    # Qwen's: a system message of its own, no BOS.
    "chatml": Template(
        "{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}"
        "{{ '<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n' }}{% endif %}"
        "{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n' }}{% endfor %}"
        "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}",
        ("<|im_start|>", "<|im_end|>"),
        ("<|im_end|>", "<|im_start|>"),
    ),
    # Prints BOS itself, trims contents.
    "llama3": Template(
        "{% for message in messages %}{% set content = '<|start_header_id|>' + message['role'] + "
        "'<|end_header_id|>\n\n' + message['content'] | trim + '<|eot_id|>' %}{% if loop.index0 == 0 %}"
        "{% set content = bos_token + content %}{% endif %}{{ content }}{% endfor %}"
        "{% if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{% endif %}",
        ("<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"),
        ("<|eot_id|>", "<|start_header_id|>"),
    ),
    "mistral": Template(
        "{{ bos_token }}{% for message in messages %}{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}"
        "{{ raise_exception('Conversation roles must alternate user/assistant/user/assistant/...') }}{% endif %}"
        "{% if message['role'] == 'user' %}{{ '[INST] ' + message['content'] + ' [/INST]' }}"
        "{% elif message['role'] == 'assistant' %}{{ ' ' + message['content'] + eos_token }}{% endif %}{% endfor %}",
        (),
        ("</s>",),
        ("[INST]",),
    ),
    # BOS before every turn of the user.
    "llama2": Template(
        "{% for message in messages %}{% if message['role'] == 'user' %}"
        "{{ bos_token + '[INST] ' + message['content'].strip() + ' [/INST]' }}"
        "{% elif message['role'] == 'assistant' %}{{ ' ' + message['content'].strip() + ' ' + eos_token }}"
        "{% endif %}{% endfor %}",
        (),
        ("</s>", "<s>"),
    ),
    "zephyr": Template(
        "{% for message in messages %}\n{% if message['role'] == 'user' %}\n{{ '<|user|>\n' + message['content'] + "
        "eos_token }}\n{% elif message['role'] == 'system' %}\n{{ '<|system|>\n' + message['content'] + eos_token }}\n"
        "{% elif message['role'] == 'assistant' %}\n{{ '<|assistant|>\n'  + message['content'] + eos_token }}\n"
        "{% endif %}\n{% if loop.last and add_generation_prompt %}\n{{ '<|assistant|>' }}\n{% endif %}\n{% endfor %}",
        (),
        ("</s>",),
        ("<|user|>",),
    ),
    "gemma": Template(
        "{{ bos_token }}{% if messages[0]['role'] == 'system' %}{{ raise_exception('System role not supported') }}"
        "{% endif %}{% for message in messages %}{% set role = 'model' if message['role'] == 'assistant' else "
        "message['role'] %}{{ '<start_of_turn>' + role + '\n' + message['content'] | trim + '<end_of_turn>\n' }}"
        "{% endfor %}{% if add_generation_prompt %}{{ '<start_of_turn>model\n' }}{% endif %}",
        ("<start_of_turn>", "<end_of_turn>"),
        ("<end_of_turn>", "<start_of_turn>"),
    ),
    "deepseek": Template(
        "{{ bos_token }}{% for message in messages %}{% if message['role'] == 'user' %}"
        "{{ 'User: ' + message['content'] + '\n\n' }}{% elif message['role'] == 'assistant' %}"
        "{{ 'Assistant: ' + message['content'] + eos_token }}{% else %}{{ message['content'] + '\n\n' }}{% endif %}"
        "{% endfor %}{% if add_generation_prompt %}{{ 'Assistant:' }}{% endif %}",
        (),
        ("</s>",),
        ("\nUser:",),
    ),
    "olmoe": Template(
        "{{ bos_token }}{% for message in messages %}\n{% if message['role'] == 'system' %}\n{{ '<|system|>\n' + "
        "message['content'] }}\n{% elif message['role'] == 'user' %}\n{{ '<|user|>\n' + message['content'] }}\n"
        "{% elif message['role'] == 'assistant' %}\n{{ '<|assistant|>\n'  + message['content'] + eos_token }}\n"
        "{% endif %}\n{% if loop.last and add_generation_prompt %}\n{{ '<|assistant|>' }}\n{% endif %}\n{% endfor %}",
        (),
        ("</s>",),
        ("<|user|>",),
    ),
    # An end of turn behind the last answer alone is followed by no line's end.
    "tulu": Template(
        "{% for message in messages %}{% if message['role'] == 'system' %}"
        "{{ '<|system|>\n' + message['content'] + '\n' }}{% elif message['role'] == 'user' %}"
        "{{ '<|user|>\n' + message['content'] + '\n' }}"
        "{% elif message['role'] == 'assistant' %}{% if not loop.last %}{{ '<|assistant|>\n' + message['content'] + "
        "eos_token + '\n' }}{% else %}{{ '<|assistant|>\n' + message['content'] + eos_token }}{% endif %}{% endif %}"
        "{% if loop.last and add_generation_prompt %}{{ '<|assistant|>\n' }}{% endif %}{% endfor %}",
        (),
        ("</s>",),
        ("<|user|>",),
    ),
    # Role tokens built of pieces, and EOS behind a conversation that is over.
    "phimoe": Template(
        "{% for message in messages %}{{ '<|' + message['role'] + '|>' + '\n' + message['content'] + '<|end|>\n' }}"
        "{% endfor %}{% if add_generation_prompt %}{{ '<|assistant|>\n' }}{% else %}{{ eos_token }}{% endif %}",
        ("<|user|>", "<|assistant|>", "<|system|>", "<|end|>"),
        ("<|end|>",),
    ),
    # OpenAI's: the last answer ends in another token than the ones before it.
    "harmony": Template(
        "{% for message in messages %}{{ '<|start|>' + message['role'] }}"
        "{% if message['role'] == 'assistant' %}{{ '<|channel|>final<|message|>' + message['content'] }}"
        "{{ '<|return|>' if loop.last else '<|end|>' }}{% else %}{{ '<|message|>' + message['content'] + '<|end|>' }}"
        "{% endif %}{% endfor %}{% if add_generation_prompt %}{{ '<|start|>assistant' }}{% endif %}",
        ("<|start|>", "<|end|>", "<|message|>", "<|channel|>", "<|return|>"),
        ("<|return|>", "<|end|>"),
    ),
    "granite": Template(
        "{% for message in messages %}{{ '<|start_of_role|>' + message['role'] + '<|end_of_role|>' + "
        "message['content'] + '<|end_of_text|>\n' }}{% endfor %}"
        "{% if add_generation_prompt %}{{ '<|start_of_role|>assistant<|end_of_role|>' }}{% endif %}",
        ("<|start_of_role|>", "<|end_of_role|>", "<|end_of_text|>"),
        ("<|end_of_text|>", "<|start_of_role|>"),
    ),
    # DeepSeek-V3's: full-width bars, nothing between the turns.
    "deepseek_v3": Template(
        "{{ bos_token }}{% for message in messages %}{% if message['role'] == 'user' %}"
        "{{ '<｜User｜>' + message['content'] }}{% elif message['role'] == 'assistant' %}"
        "{{ '<｜Assistant｜>' + message['content'] + eos_token }}{% else %}{{ message['content'] }}{% endif %}"
        "{% endfor %}{% if add_generation_prompt %}{{ '<｜Assistant｜>' }}{% endif %}",
        ("<｜User｜>", "<｜Assistant｜>"),
        ("</s>", "<｜User｜>"),
    ),
    "vicuna": Template(
        "{% for message in messages %}{% if message['role'] == 'user' %}{{ 'USER: ' + message['content'] + ' ' }}"
        "{% elif message['role'] == 'assistant' %}{{ 'ASSISTANT: ' + message['content'] + eos_token }}{% endif %}"
        "{% endfor %}{% if add_generation_prompt %}{{ 'ASSISTANT:' }}{% endif %}",
        (),
        ("</s>",),
        ("\nUSER:",),
    ),
}
ENDLESS = (
    "{% for message in messages %}{% if message['role'] == 'user' %}{{ '### Instruction:\n' + message['content'] + "
    "'\n\n' }}{% else %}{{ '### Response:\n' + message['content'] + '\n\n' }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ '### Response:\n' }}{% endif %}"
)
"""Alpaca's, as often published: nothing but white space behind an answer."""
REWRITING = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' }}"
    "{% if message['role'] == 'assistant' and loop.last %}{{ '<think>\n\n</think>\n\n' }}{% endif %}"
    "{{ message['content'] + '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
"""Qwen3's: the last answer alone opens with thoughts."""
THINKING = (
    "{% for message in messages %}"
    "{{ '<|im_start|>' + message['role'] + '\n' + message['content'].split('</think>')[-1] + '<|im_end|>\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n<think>\n' }}{% endif %}"
)


def byte_level(tokens: tuple[str, ...] = (), bos: bool = True, special: bool = True) -> PreTrainedTokenizerFast:
    """A byte-level tokenizer without merges: one token a byte, and the control tokens."""
    vocabulary = {character: n for n, character in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
    core = Tokenizer(models.BPE(vocabulary, []))
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    return _finished(core, tokens, bos, special)


def sentencepiece_like(tokens: tuple[str, ...] = (), bos: bool = True, special: bool = True) -> PreTrainedTokenizerFast:
    """As Llama 2's: spaces become `▁`, one stands before every text, unknown characters fall back to bytes."""
    pieces = ["<unk>", *(f"<0x{n:02X}>" for n in range(256)), "▁", *(chr(n) for n in range(33, 127))]
    core = Tokenizer(models.BPE({p: n for n, p in enumerate(pieces)}, [], byte_fallback=True, unk_token="<unk>"))
    core.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    core.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    return _finished(core, tokens, bos, special)


def _finished(core: Tokenizer, tokens: tuple[str, ...], bos: bool, special: bool) -> PreTrainedTokenizerFast:
    core.add_special_tokens([AddedToken(text, normalized=False) for text in ("<s>", "</s>", "<pad>")])
    core.add_tokens([AddedToken(text, normalized=False, special=special) for text in tokens])
    options = {"bos_token": "<s>"} if bos else {}
    return PreTrainedTokenizerFast(tokenizer_object=core, eos_token="</s>", pad_token="<pad>", **options)


KINDS = {"byte_level": byte_level, "sentencepiece": sentencepiece_like}


def templated(name: str, kind: str = "byte_level", bos: bool = True, special: bool = True) -> PreTrainedTokenizerFast:
    """A tokenizer with one of the templates and its tokens; where it has no BOS, the template prints none."""
    template = TEMPLATES[name]
    tokenizer = KINDS[kind](template.tokens, bos, special)
    tokenizer.chat_template = template.text if bos else template.text.replace("bos_token", "''")
    return tokenizer
