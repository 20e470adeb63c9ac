"""The table of permissions in testdata/compose.socket-proxy.yaml, read so that tests can hold us to it."""

from __future__ import annotations

from collections.abc import Iterator


def proxy_rows(text: str) -> Iterator[tuple[str, dict[str, str]]]:
    """Yield the rows of the table of permissions in the comment of the proxy variant."""
    lines = [line[1:] for line in text.splitlines() if line.startswith("#")]
    header = next(line.split() for line in lines if line.split()[:1] == ["EVENTS"])
    for line in lines:
        cells = line.split()[-len(header) :]
        if len(cells) == len(header) and set(cells) <= {"1", "-"}:
            yield line.rsplit(None, len(header))[0].strip(), dict(zip(header, cells, strict=True))
