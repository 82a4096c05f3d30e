"""Any text as Markdown that shows just that."""

from __future__ import annotations

import html


def plain(text: str) -> str:
    """`text` as Markdown that neither breaks a table nor smuggles in HTML."""
    one_line = " ".join(html.escape(str(text), quote=False).split())
    return one_line.replace("|", "\\|").replace("`", "&#96;")
