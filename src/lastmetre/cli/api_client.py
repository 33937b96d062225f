"""A small client of the supplier's HTTP API for the shell: one call, JSON back, every trouble one clear line."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import httpx

from lastmetre.cli.problems import EXIT_FAILED, ProblemError

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType
    from typing import Self

TIMEOUT_S: Final = 30.0


class ApiClient:
    """The API at ``url``, with the token that the file holds."""

    def __init__(self, url: str, token_file: Path) -> None:
        try:
            token = token_file.read_text(encoding="ascii").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise ProblemError(f"cannot read the API's token from {token_file}: {error}") from error
        if not token or not token.isprintable():
            raise ProblemError(f"{token_file} holds no token: it must be one line of text")
        try:
            self._client = httpx.Client(
                base_url=url, headers={"Authorization": f"Bearer {token}"}, timeout=TIMEOUT_S, trust_env=False
            )
        except (httpx.InvalidURL, ValueError) as error:
            raise ProblemError(f"{url} is no URL of an API: {error}") from error
        self._url = url

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._client.close()

    def call(self, method: str, path: str, body: object = None, **query: int) -> dict[str, Any]:
        """Asks; raises ``ProblemError`` with the API's own words when it refuses."""
        try:
            answer = self._client.request(method, path, json=body, params=query or None)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise ProblemError(f"the supplier's API at {self._url} cannot be reached: {error}", EXIT_FAILED) from error
        try:
            content = answer.json()
        except ValueError:
            content = None
        if answer.is_success and isinstance(content, dict):
            return content
        raise ProblemError(_words(answer, content), EXIT_FAILED)


def _words(answer: httpx.Response, content: object) -> str:
    error = content.get("error") if isinstance(content, dict) else None
    if isinstance(error, dict):
        return " ".join(f"the supplier refused ({error.get('code')}): {error.get('message')}".split())
    return f"the supplier's API answered {answer.status_code}, and not as this program expects"
