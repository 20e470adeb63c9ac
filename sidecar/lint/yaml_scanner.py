"""ruamel's scanner with the ways of the one that Compose has, where the two differ on what people write.

Tabs are taken after a value, after a colon and within a plain text; a ``?`` ends a plain text in ``[]`` and ``{}``.
The rules are those of libyaml, of which Compose's library is a port (go-yaml v3: scannerc.go,
yaml_parser_scan_to_next_token, yaml_parser_scan_plain_scalar, yaml_parser_scan_flow_scalar).
"""

from __future__ import annotations

import re
from typing import Any

from ruamel.yaml.error import StringMark
from ruamel.yaml.scanner import Scanner, ScannerError

_GAP = " \t\r\n\x85\u2028\u2029"
_BREAK = re.compile("\r\n|[\r\n\x85\u2028\u2029]")
_ESCAPES = {key: value for key, value in Scanner.ESCAPE_REPLACEMENTS.items() if key != "/"} | {"'": "'"}


class GoScanner(Scanner):
    """Reads tabs, question marks and escapes as Go's library does."""

    ESCAPE_REPLACEMENTS = _ESCAPES
    _in_plain = False

    @property
    def scanner_processing_version(self) -> Any:
        """The version of YAML: for plain texts the old one, in which a question mark ends one."""
        return (1, 1) if self._in_plain else super().scanner_processing_version

    def scan_plain(self) -> Any:
        """Return the token of a plain text."""
        self._in_plain = True
        try:
            return super().scan_plain()
        finally:
            self._in_plain = False

    def scan_to_next_token(self) -> Any:
        """Go over blanks, line breaks and comments; over tabs wherever they cannot indent."""
        super().scan_to_next_token()
        while self.reader.peek() == "\t" and not self.allow_simple_key:
            self.reader.forward()
            super().scan_to_next_token()

    def scan_plain_spaces(self, indent: Any, start_mark: StringMark) -> Any:
        """Return what blanks and line breaks within a plain text become; None where the text ends with them."""
        length = 0
        while self.reader.peek(length) in _GAP:
            length += 1
        gap = self.reader.prefix(length)
        breaks = list(_BREAK.finditer(gap))
        lines = _BREAK.split(gap)[1:]
        if not breaks:
            self.reader.forward(length)
            return [gap] if gap else []
        self.allow_simple_key = True
        for sign, line in zip(breaks, lines, strict=True):
            tab = line.find("\t")
            if 0 <= tab < indent:
                self.reader.forward(sign.end() + tab)
                where = self.reader.get_mark()
                raise ScannerError(
                    "while scanning a plain scalar", start_mark, "found a tab that indents", where
                )
        self.reader.forward(length)
        if not lines[-1] and self._begins_document():
            return None
        signs = ["\n" if sign.group() in "\r\n\x85" else sign.group() for sign in breaks]
        return signs if signs[0] != "\n" else signs[1:] or [" "]

    def _begins_document(self) -> bool:
        return self.reader.prefix(3) in {"---", "..."} and self.reader.peek(3) in "\0" + _GAP
