"""One comment on a pull request, kept up to date with its review, which is untrusted text.

    python3 .github/comment.py REVIEW.md

Needs nothing but Python. The pull request is the one whose branch the finished run was for, as GitHub's own event
says: $HEAD_OWNER, $HEAD_BRANCH and $HEAD_SHA; the text has no say in it. $GITHUB_REPOSITORY, $GITHUB_API_URL and
$GITHUB_TOKEN are what Actions provides, $RUN_URL is the run's page.
"""

import json
import os
import re
import sys
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any

MARKER = "<!-- review of the recommender -->"
AUTHOR = "github-actions[bot]"  # whose comments $GITHUB_TOKEN writes
LONGEST = 60_000  # characters; GitHub takes 65,536
PAGE = 100


def main() -> None:
    """Write the comment, or say why there is nothing to write to."""
    number = pull_request()
    if number is None:
        print("No open pull request has this commit at its head: nothing to comment on.")
        return
    body = comment(Path(sys.argv[1]))
    existing = existing_comment(number)
    if existing is None:
        api("POST", f"issues/{number}/comments", {"body": body})
    else:
        api("PATCH", f"issues/comments/{existing}", {"body": body})
    print(f"Commented on #{number}.")


def pull_request() -> int | None:
    """The open pull request whose head is exactly the commit that the run was for."""
    head = urllib.parse.quote(f"{os.environ['HEAD_OWNER']}:{os.environ['HEAD_BRANCH']}", safe="")
    found = api("GET", f"pulls?state=open&head={head}")
    return next((pull["number"] for pull in found if pull["head"]["sha"] == os.environ["HEAD_SHA"]), None)


def existing_comment(number: int) -> int | None:
    """The comment that an earlier run wrote."""
    page = 1
    while True:
        comments = api("GET", f"issues/{number}/comments?per_page={PAGE}&page={page}")
        for written in comments:
            if written["user"]["login"] == AUTHOR and written["body"].startswith(MARKER):
                return int(written["id"])
        if len(comments) < PAGE:
            return None
        page += 1


def comment(path: Path) -> str:
    """The comment's whole text."""
    sha, run = os.environ["HEAD_SHA"], os.environ["RUN_URL"]
    said = f"Written by this pull request's own code, at {sha}: [its run]({run})."
    if not path.is_file() or path.is_symlink():
        return f"{MARKER}\nThere is no review: the run ended before it. {said}"
    with path.open("rb") as file:
        text = file.read(4 * LONGEST + 1).decode("utf-8", errors="replace")
    # Whose words follow comes first: nothing in them, such as a code fence that is never closed, can swallow it.
    return f"{MARKER}\n{said}\n\n---\n\n{harmless(text)}"


def harmless(text: str) -> str:
    """The text without mentions, links to issues, images and HTML, and cut if it is too long."""
    text = "".join(letter for letter in text if letter.isprintable() or letter == "\n")
    text = text.replace("&", "&amp;").replace("<", "&lt;").replace("![", "!\\[")
    # Mentions and links, in each form that GitHub makes one of: #12, GH-12, owner/name#12, an address.
    text = re.sub(r"(@|#(?=\d)|\bgh-(?=\d)|:(?=//)|\bwww(?=\.))", "\\1\N{ZERO WIDTH SPACE}", text, flags=re.IGNORECASE)
    if len(text) > LONGEST:
        text = text[:LONGEST].rpartition("\n")[0] + "\n\n(The rest was too long: it is in the run's summary.)"
    return text


def api(method: str, path: str, body: dict[str, Any] | None = None) -> Any:
    """Ask GitHub about this repository."""
    request = urllib.request.Request(
        f"{os.environ['GITHUB_API_URL']}/repos/{os.environ['GITHUB_REPOSITORY']}/{path}",
        method=method,
        data=None if body is None else json.dumps(body).encode(),
        headers={
            "Accept": "application/vnd.github+json",
            "Authorization": f"Bearer {os.environ['GITHUB_TOKEN']}",
            "Content-Type": "application/json",
        },
    )
    try:
        with urllib.request.urlopen(request, timeout=30) as response:
            return json.load(response)
    except urllib.error.HTTPError as error:
        sys.exit(f"ERROR: {method} {path}: GitHub answered {error.code}: {error.read(500).decode(errors='replace')}")


if __name__ == "__main__":
    main()
