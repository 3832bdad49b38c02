"""From the lines of C in the verifier's log to the lines that the learner wrote.

BCC rewrites a program before it compiles it: `started.lookup(&tid)` becomes a call of a helper, and lines are put
before and into the text. The log quotes the rewritten text, and its line numbers; before Linux 6.10 it has no numbers.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import pairwise

from helpers.course.verifier import Line

LIKE = 0.5  # two lines with more than this share of their words in common may be the same


class Source:
    """A C text, and where in it one function's lines are.

    `rows` are the lines of the text, `places` the index of a row for each line of the log that was found there, and
    `exact` the number of lines that are the same in both.
    """

    def __init__(self, text: str, lines: Iterable[Line], function: str) -> None:
        self.rows = text.expandtabs(4).splitlines()
        self.first, self.end = _body(self.rows, function)
        self.places: dict[Line, int] = {}
        self.exact = 0
        lines = list(lines)
        offsets: Counter[int] = Counter()
        unsure = []
        for line in lines:
            same = [place for place in self._range() if self.rows[place].strip() == line.text]
            if len(same) == 1:
                self.places[line] = same[0]
                offsets[line.number - same[0]] += bool(line.number)
            else:
                unsure.append((line, same))
            self.exact += bool(same)
        for line, same in unsure:
            if self.rows and re.search(r"ctx->(di|si|dx|cx|r10|r8)\b", line.text) and not same:
                self.places[line] = self.first  # BCC fetches an argument, which the head of the function declares
                continue
            if line.number and offsets:
                places = [line.number - offset for offset, _ in offsets.most_common()]
                place = next((place for place in places if place in self._range()), None)
                if place is not None and (place in same or _likeness(self.rows[place], line.text) > LIKE):
                    self.places[line] = place
                    continue
            best = max(same or self._range(), key=lambda place: self._rank(place, line.text), default=None)
            if best is not None and (same or _likeness(self.rows[best], line.text) > LIKE):
                self.places[line] = best
        for before, line in pairwise(lines):  # what is not there is inlined from a header, into the line before it
            if line not in self.places and before in self.places and not line.number:
                self.places[line] = self.places[before]

    def _rank(self, place: int, rewritten: str) -> tuple[float, int]:
        """Return how well a line fits a rewritten one; of two that fit as well, the longer one fits better."""
        return _likeness(self.rows[place], rewritten), len(self.rows[place].strip())

    def _range(self) -> range:
        return range(self.first, self.end)

    def at(self, line: Line) -> tuple[int | None, str]:
        """Return the number of a line, from 1, and its text; None and the log's own text if it was not found."""
        place = self.places.get(line)
        return (None, line.text) if place is None else (place + 1, self.rows[place])

    def loop_at(self, line: Line) -> Line:
        """Return the head of the loop that a line is in: `for`, `while`, `do`, or a label; or the line itself."""
        place = self.places.get(line)
        indent = _indent(self.rows[place]) if place is not None else 0
        for above in range(place or 0, self.first, -1):
            head = re.match(r"\s*(for|while|do)\b|\w+:", self.rows[above])
            if head and (above == place or _indent(self.rows[above]) < indent):
                found = Line(self.rows[above].strip(), -above)
                self.places[found] = above
                return found
        return line


def source_of(texts: Iterable[str], lines: Iterable[Line], function: str) -> Source:
    """Return the text, among some, in which the lines of a log are found best."""
    name = re.sub(r"^(raw_)?tracepoint__", "", function)
    words = [name, *([name.split("__", 1)[1]] if "__" in name else [])]
    lines = list(lines)
    found = [Source(text, lines, function) for text in texts if any(word in text for word in words)]
    best = max(found, key=lambda source: (source.exact, len(source.places)), default=None)
    return best if best and (best.places or not lines) else Source("", lines, function)


def _body(rows: list[str], function: str) -> tuple[int, int]:
    """Return where a function begins and ends: from the row with its name to the first that begins with a brace."""
    if not function:
        return 0, len(rows)
    names = [re.escape(function)]
    if found := re.match(r"(?:raw_)?tracepoint__(\w+?)__(\w+)$", function):
        names.append(rf"TRACEPOINT_PROBE\(\s*{found[1]}\s*,\s*{found[2]}\s*\)")
    elif found := re.match(r"raw_tracepoint__(\w+)$", function):
        names.append(rf"RAW_TRACEPOINT_PROBE\(\s*{found[1]}\s*\)")
    elif found := re.match(r"k(?:ret)?func__vmlinux__(\w+)$", function):
        names.append(rf"KR?E?T?FUNC_PROBE\(\s*{found[1]}\b")
    head = re.compile(rf"(?:^|[\s*])(?:{'|'.join(names)})(?=\W|$)")
    begin = next((n for n, row in enumerate(rows) if head.search(row) and not row.rstrip().endswith(";")), 0)
    end = next((n for n in range(begin, len(rows)) if rows[n].startswith("}")), len(rows) - 1)
    return begin, end + 1


def _indent(row: str) -> int:
    return len(row) - len(row.lstrip())


def _likeness(ours: str, rewritten: str) -> float:
    """Return the share of a line's words that are in the rewritten one; `lookup` is in `bpf_map_lookup_elem`, say."""
    words = re.findall(r"\w+", re.sub(r"\w+\.(?=\w+\()", "", ours.partition("//")[0]))
    return sum(word in rewritten for word in words) / len(words) if words else 0.0


def texts_in(values: Iterable[object]) -> Iterator[str]:
    """Yield the C texts among some values, and in the dicts, lists and tuples among them: those with a brace."""
    for value in values:
        if isinstance(value, dict | list | tuple):
            inner = value.values() if isinstance(value, dict) else value
            yield from texts_in([text for text in inner if isinstance(text, str | bytes)])
        text = value.decode(errors="replace") if isinstance(value, bytes) else value
        if isinstance(text, str) and "{" in text:
            yield text
