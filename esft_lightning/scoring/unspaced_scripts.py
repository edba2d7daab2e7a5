"""Words in scripts that put no spaces between them: each character is one, with the marks that stand on it.

Kana, Thai, Lao, Khmer, Burmese, Tibetan and their like. Splitting them into words takes a dictionary of each
language, as sacrebleu's `ja-mecab` does for one; characters are fair to all of them and need none. Chinese characters
are split by sacrebleu's own `zh`; Korean has spaces.
"""

import re
import unicodedata

__all__ = ["has_unspaced", "split_unspaced"]

_SCRIPTS = (
    "\u0e00-\u0eff"  # Thai, Lao
    "\u0f00-\u0fff"  # Tibetan
    "\u1000-\u109f\ua9e0-\ua9ff\uaa60-\uaa7f"  # Burmese
    "\u1780-\u17ff\u19e0-\u19ff"  # Khmer
    "\u1950-\u19df\u1a20-\u1aaf\uaa80-\uaadf"  # Tai
    "\u1b00-\u1b7f\ua980-\ua9df"  # Balinese, Javanese
    "\u3040-\u30ff\u31f0-\u31ff\uff66-\uff9f"  # kana
    "\ua000-\ua4cf"  # Yi
    "\U0001b000-\U0001b16f\U00020000-\U0003ffff"  # further kana; Chinese characters that `zh` does not know
)
_RUN = re.compile(f"[{_SCRIPTS}]+")
_JOINING = "\u1039\u17d2"  # the consonant after one of these stands under the one before
_AFTER = "\u0e33\u0eb3\uff9e\uff9f\u30fc"  # letters that complete the one before: am, sound marks, the long vowel


def has_unspaced(text: str) -> bool:
    """Whether a text has characters of these scripts."""
    return _RUN.search(text) is not None


def split_unspaced(text: str) -> str:
    """Return the text with a space around every character of these scripts."""
    return _RUN.sub(lambda run: f" {' '.join(_characters(run[0]))} ", text.replace("\u200b", " "))


def _characters(run: str) -> list[str]:
    characters: list[str] = []
    for character in run:
        belongs = unicodedata.category(character)[0] == "M" or character in _AFTER
        if characters and (belongs or characters[-1][-1] in _JOINING):
            characters[-1] += character
        else:
            characters.append(character)
    return characters
