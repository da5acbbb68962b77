"""Corpora whose file names follow one pattern: the pattern, and what its codes mean, is all they need."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from stages.data.vocabulary import Emotion, Intensity, ParsedName, Sex


@dataclass(frozen=True)
class Names:
    """How a corpus names its recordings.

    Attributes:
        pattern: of a file's name without suffix. Its groups are speaker and emotion, and what else the name
            says of sex, sentence, intensity and repetition (a number, or a letter from a on).
        emotions: label by the code in the name.
        sexes: by the group `sex`, or by speaker without such a group; unknown where it is not listed.
        ages: in years, by speaker.
        intensities: by the code in the name; unspecified where it is not listed.

    >>> pattern = re.compile(r"(?P<speaker>[mf]\\d)-(?P<emotion>ang|neu)")
    >>> names = Names(pattern, {"ang": "anger", "neu": "neutral"})
    >>> names.parse(PurePosixPath("wav/m1-ang.wav")).emotion
    'anger'
    >>> names.parse(PurePosixPath("wav/m1-joy.wav"))
    """

    pattern: re.Pattern[str]
    emotions: Mapping[str, Emotion]
    sexes: Mapping[str, Sex] = field(default_factory=dict)
    ages: Mapping[str, int] = field(default_factory=dict)
    intensities: Mapping[str, Intensity] = field(default_factory=dict)

    def parse(self, path: PurePosixPath) -> ParsedName | None:
        """Returns what the file's name says, None if it does not follow this corpus's pattern."""
        match = self.pattern.fullmatch(path.stem)
        if match is None:
            return None
        found = match.groupdict()
        speaker = found["speaker"]
        return ParsedName(
            clip=path.stem,
            speaker=speaker,
            sex=self.sexes.get(found.get("sex", speaker)),
            sentence=found.get("sentence"),
            emotion=self.emotions[found["emotion"]],
            intensity=self.intensities.get(found.get("intensity", ""), "unspecified"),
            repetition=_number(found.get("repetition")),
            age=self.ages.get(speaker),
        )


def _number(text: str | None) -> int:
    """Returns which take it is, from 1 on.

    >>> _number(None), _number("2"), _number("b")
    (1, 2, 2)
    """
    if not text:
        return 1
    return int(text) if text.isdigit() else ord(text) - ord("a") + 1
